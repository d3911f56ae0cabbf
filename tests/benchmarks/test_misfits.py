"""What does not go together is refused before training, or left out where something else fits."""

from __future__ import annotations

from typing import Any

import pytest

from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.suite import load_suite
from recipebench.errors import RequestError


def cells(**keys: Any) -> list[Cell]:
    return list(expand(load_suite({"name": "t", "data": ["digits"], "seeds": 1, **keys})))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a regression loss on classes": (
        {"matrix": {"loss": ["huber"]}},
        "loss huber is for regression, but data digits is classification; losses for classification: "
        "cross_entropy, label_smoothing, bce,",
    ),
    "a loss of classes on numbers": (
        {"data": ["curve"], "matrix": {"loss": ["bce"]}},
        "losses for regression: mse, half_mse, l1, huber.",
    ),
    "a stride that does not fit": (
        {"matrix": {"model": [{"cnn": {"stride": 5, "padding": 0, "kernel": 2}}]}},
        "model cnn on digits: ",
    ),
    "transfer from images that do not fit": (
        {
            "matrix": {
                "model": [{"transfer_cnn": {"source": "mnist", "kernel": 4, "padding": 0, "stride": 4}}]
            }
        },
        "model transfer_cnn on ",
    ),
    "a schedule that divides by zero": (
        {"matrix": {"schedule": [{"root": {"first_epoch": 0}}]}},
        "schedule root: first_epoch: expected 1, since k / sqrt(0) has no value, got 0.",
    ),
    "filters on a table": (
        {"data": ["wine"], "matrix": {"model": ["cnn"]}},
        "model cnn needs images of (channels, height, width), but data wine has inputs of shape (13,)",
    ),
    "two classes of ten": (
        {"matrix": {"model": ["logistic_regression"]}},
        "model logistic_regression needs two classes, but data digits has 10 classes",
    ),
    "a polynomial of two features": (
        {"data": ["synthetic_regression"], "matrix": {"model": ["polynomial_regression"]}},
        "model polynomial_regression needs one feature",
    ),
    "a classifier on numbers": (
        {"data": ["curve"], "matrix": {"model": ["naive_bayes_gaussian"]}},
        "model naive_bayes_gaussian is for classification, but data curve is regression",
    ),
    "augmented tables": (
        {"data": ["wine"], "matrix": {"augmentation": ["translate"]}},
        "augmentation translate changes images, and data wine has none: its samples have the shape (13,)",
    ),
    "wrong labels of numbers": (
        {"data": ["curve"], "matrix": {"label_noise": [0.2]}},
        "label_noise replaces classes, and data curve is regression",
    ),
    "scaled surfaces": (
        {"data": ["saddle"], "matrix": {"model": ["point"], "batch_size": [1], "inputs": ["standardized"]}},
        "inputs standardized changes samples, and data saddle has none",
    ),
    "more samples than there are": (
        {"matrix": {"activation": ["relu"]}, "protocol": {"train_samples": 5000}},
        "protocol.train_samples: digits: train_samples: expected",
    ),
    "a batch that drops all": (
        {"matrix": {"last_batch": ["drop"]}, "protocol": {"batch_size": 5000}},
        "last_batch: drop leaves nothing of 1,294 training samples of digits in batches of 5000",
    ),
    "a probability too few": (
        {"matrix": {"regularizer": [{"dropout_per_layer": {"p": [0.2, 0.5]}}]}},
        "p: expected 3 numbers (the input and 2 hidden layers), got 2.",
    ),
    "a probability too many for a cnn": (
        {"matrix": {"model": ["cnn"], "regularizer": ["dropout_per_layer"]}},
        "p: expected 2 numbers",
    ),
    "dropout without hidden layers": (
        {"matrix": {"model": ["softmax_regression"], "regularizer": ["dropout"]}},
        "regularizer dropout needs a hidden layer, and model softmax_regression has none.",
    ),
    "filters of matched width": (
        {"matrix": {"model": ["cnn"], "activation": [{"maxout": {"match": "flops"}}]}},
        "activation maxout: match: expected units for cnn",
    ),
    "an optimizer that is not written out": (
        {"matrix": {"model": ["softmax_regression_scratch"], "optimizer": ["adam"]}},
        "model softmax_regression_scratch has sgd written out, got optimizer adam.",
    ),
    "weight decay twice": (
        {"matrix": {"optimizer": ["adamw"], "regularizer": ["weight_decay"]}},
        "optimizer adamw has its own weight_decay",
    ),
    "a rule that gives no values": (
        {"matrix": {"optimizer.lr": {"log_grid": {"low": 0, "high": 1, "points": 3}}}},
        "matrix.optimizer.lr: ",
    ),
    "an unknown probe": (
        {"matrix": {"activation": ["relu"]}, "probes": ["gradient"]},
        "Unknown probe 'gradient'. Known: activations, gradients, weights. Did you mean 'gradients'?",
    ),
}


@pytest.mark.parametrize(("keys", "message"), REFUSED.values(), ids=REFUSED)
def test_what_can_never_be_trained_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        cells(**keys)

    assert message in str(caught.value)


def test_losses_go_to_the_data_of_their_task() -> None:
    found = cells(data=["digits", "curve"], matrix={"loss": ["bce", "huber"]})

    assert {(c.data.name, c.loss.name) for c in found if c.loss} == {("digits", "bce"), ("curve", "huber")}


def test_what_one_model_lacks_is_left_out_beside_others() -> None:
    models = ["mlp_scratch", "mlp", "softmax_regression"]
    found = cells(matrix={"model": models, "optimizer": ["sgd", "adam"], "regularizer": ["none", "dropout"]})

    names = {
        (c.model.name, c.optimizer and c.optimizer.name, c.regularizer and c.regularizer.name) for c in found
    }
    assert names == {
        ("mlp_scratch", "sgd", None),
        *(("mlp", o, r) for o in ("sgd", "adam") for r in ("none", "dropout")),
        *(("softmax_regression", o, "none") for o in ("sgd", "adam")),
    }


def test_a_model_without_a_factor_is_planned_once() -> None:
    matrix = {"model": ["k_nearest_neighbors"], "optimizer": ["sgd", "adam"], "loss": ["bce", "multi_margin"]}
    (cell,) = cells(matrix=matrix)

    absent = [cell.activation, cell.initializer, cell.regularizer, cell.optimizer, cell.loss, cell.schedule]
    assert absent == [None] * 6
    assert Cell.from_json(cell.to_json()) == cell
    assert cell.columns()["optimizer"] is None


def test_the_usual_loss_named_or_not_is_the_same_cell() -> None:
    (named,) = cells(matrix={"loss": ["cross_entropy"], "schedule": ["constant"], "augmentation": ["none"]})
    (unnamed,) = cells(matrix={"activation": ["relu"]})

    assert named == unnamed
    assert named.id == unnamed.id


def test_the_whole_batch_is_as_large_as_the_training_set() -> None:
    sizes = [c.batch_size for c in cells(matrix={"batch_size": [1, "full"], "train_samples": [200, "all"]})]

    assert sizes == [1, 1, 200, 1294]


def test_a_rule_gives_the_values_of_an_axis() -> None:
    found = cells(matrix={"optimizer.lr": {"log_grid": {"low": 0.01, "high": 1.0, "points": 3}}})

    assert [c.optimizer.parameters["lr"] for c in found if c.optimizer] == [0.01, 0.1, 1.0]
