"""What all models share, in a bare Trainer: losses, scores, validation, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn

from recipebench.datamodules import Digits, SyntheticRegression
from recipebench.lightning_modules import MLP, SupervisedModule
from recipebench.lightning_modules.regularizers import RestoreBest


def small(**options: Any) -> MLP:
    return MLP(**{"in_features": 64, "hidden": [10], "init_seed": 0, **options})


def test_losses_are_those_of_torch() -> None:
    logits, classes = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    values, targets = torch.randn(6, 1), torch.randn(6, 1)
    regression = MLP(in_features=2, hidden=[2], out_features=1, task="regression")

    losses = {"cross-entropy": small().losses(logits, classes), "squared": regression.losses(values, targets)}

    assert losses["cross-entropy"].shape == losses["squared"].shape == (6,)
    assert losses["cross-entropy"].tolist() == pytest.approx(
        (-logits.log_softmax(1))[range(6), classes].tolist()
    )
    assert torch.allclose(losses["cross-entropy"].mean(), nn.CrossEntropyLoss()(logits, classes))
    assert torch.allclose(losses["squared"].mean(), nn.MSELoss()(values, targets))


def test_the_training_step_returns_what_is_minimized_and_what_is_recorded() -> None:
    model = small(regularizer={"l2": {"strength": 0.5}})
    x, y = torch.randn(4, 64), torch.tensor([1, 2, 3, 4])

    out = model.training_step((x, y), 0)

    expected = F.cross_entropy(model(x), y)
    assert float(out["losses"].mean()) == pytest.approx(float(expected.detach()), rel=1e-6)
    assert float(out["loss"].detach()) == pytest.approx(float((expected + out["penalty"]).detach()), rel=1e-6)
    assert float(out["penalty"]) > 0
    assert out["loss"].requires_grad
    assert not out["losses"].requires_grad
    assert not out["penalty"].requires_grad


@pytest.mark.parametrize("batch_size", [7, 128, 5000])
def test_validation_and_test_score_every_sample_once(
    batch_size: int, bare_trainer: Callable[..., Trainer]
) -> None:
    data, model = Digits(batch_size=batch_size), small(regularizer="dropout")
    trainer = bare_trainer()

    (validation,) = trainer.validate(model, datamodule=data, verbose=False)
    (test,) = trainer.test(model, datamodule=data, verbose=False)

    model.eval()
    for split, scores in (("validation", validation), ("test", test)):
        part = getattr(data, split)
        inputs, targets = data.float_inputs(part.inputs[part.indices]), part.targets[part.indices]
        with torch.no_grad():
            outputs = model(inputs)
        assert scores == {
            f"{split}_loss": pytest.approx(float(F.cross_entropy(outputs, targets)), rel=1e-5),
            f"{split}_accuracy": pytest.approx(float((outputs.argmax(1) == targets).float().mean())),
        }


def test_regression_is_scored_by_error_and_r2(bare_trainer: Callable[..., Trainer]) -> None:
    data = SyntheticRegression()
    model = MLP(in_features=2, hidden=[4], out_features=1, task="regression", init_seed=0)

    (scores,) = bare_trainer().test(model, datamodule=data, verbose=False)

    assert scores.keys() == {"test_loss", "test_mse", "test_r2"}
    assert scores["test_loss"] == pytest.approx(scores["test_mse"], rel=1e-6)


def test_validation_does_not_change_what_is_trained(bare_trainer: Callable[..., Trainer]) -> None:
    states = []
    for options in ({"limit_val_batches": 0}, {}, {"num_sanity_val_steps": 0, "val_check_interval": 0.25}):
        model = small()
        bare_trainer(2, **options).fit(model, datamodule=Digits())
        states.append(model.state_dict())

    for other in states[1:]:
        assert all(torch.equal(states[0][name], other[name]) for name in other)


def test_an_interrupted_evaluation_leaves_no_trace(bare_trainer: Callable[..., Trainer]) -> None:
    data, model = Digits(), small()
    (clean,) = bare_trainer().validate(model, datamodule=data, verbose=False)
    model.validation_step((torch.zeros(3, 64), torch.tensor([0, 1, 2])), 0)  # and then Ctrl-C

    (again,) = bare_trainer().validate(model, datamodule=data, verbose=False)
    (test,) = bare_trainer().test(model, datamodule=data, verbose=False)

    assert again == clean
    assert test["test_accuracy"] * len(data.test) == pytest.approx(
        round(test["test_accuracy"] * len(data.test))
    )


def test_finite_sees_every_parameter() -> None:
    model = small(activation="prelu")
    names = [name for name, _ in model.named_parameters()]

    assert model.finite().tolist() == [True]
    for name in names:
        for bad in (math.nan, math.inf):
            broken = small(activation="prelu")
            broken.get_parameter(name).data.view(-1)[-1] = bad
            assert broken.finite().tolist() == [False], name


def test_a_network_of_ones_own_is_initialized_penalized_and_trained(
    bare_trainer: Callable[..., Trainer],
) -> None:
    network = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(64, 9, bias=False), nn.GELU()), nn.Linear(9, 10)
    )
    model = SupervisedModule(
        network,
        task="classification",
        initializer={"small_gaussian": {"std": 0.1}},
        regularizer={"l1": {"strength": 1e-3}},
        optimizer="adam",
        init_seed=0,
    )

    start = [w.detach().clone() for w in model.weights()]
    bare_trainer().fit(model, datamodule=Digits())

    assert [tuple(w.shape) for w in start] == [(9, 64), (10, 9)]
    assert float(start[0].std()) == pytest.approx(0.1, rel=0.15)
    assert float(model.penalty().detach()) == pytest.approx(
        1e-3 * sum(float(w.detach().abs().sum()) for w in model.weights())
    )
    for before, after in zip(start, model.weights(), strict=True):
        assert not torch.equal(before, after)


class Script(MLP):
    """Reports prescribed validation losses; its only bias counts the epochs that it was trained."""

    def __init__(self, losses: Sequence[float], **options: Any) -> None:
        super().__init__(in_features=64, hidden=[2], init_seed=0, **options)
        self.planned = list(losses)
        self.register_buffer("trained", torch.zeros((), dtype=torch.int64))

    def on_train_epoch_start(self) -> None:
        self.get_buffer("trained").add_(1)

    def on_validation_epoch_end(self) -> None:
        sanity = self.trainer.sanity_checking
        self.log("validation_loss", -1.0 if sanity else self.planned[self.trainer.current_epoch])


@pytest.fixture
def stopped_at(bare_trainer: Callable[..., Trainer]) -> Callable[..., tuple[int, int]]:
    """Return after how many epochs Lightning's own early stopping ends, and the first best epoch."""

    def run(losses: Sequence[float], patience: int) -> tuple[int, int]:
        model = Script(losses)
        stop = EarlyStopping("validation_loss", patience=patience, check_on_train_epoch_end=False)
        bare_trainer(len(losses), callbacks=[stop]).fit(model, datamodule=Digits())
        seen = losses[: int(model.get_buffer("trained"))]
        return len(seen), seen.index(min(seen)) + 1

    return run


@pytest.mark.parametrize(
    ("losses", "patience", "end", "best"),
    [
        ([3.0, 2.0, 2.5, 2.0, 2.1, 1.0, 0.5], 3, 5, 2),  # an equal loss is no improvement
        ([3.0, 2.0, 2.5, 2.4, 1.0, 1.5, 0.5], 3, 7, 7),
        ([1.0, 2.0, 0.5], 1, 2, 1),
        ([4.0, 3.0, 2.0, 1.0], 1, 4, 4),
    ],
    ids=str,
)
def test_early_stopping_ends_with_lightnings_and_restores_the_first_best(
    losses: list[float],
    patience: int,
    end: int,
    best: int,
    bare_trainer: Callable[..., Trainer],
    stopped_at: Callable[..., tuple[int, int]],
) -> None:
    weights: dict[int, torch.Tensor] = {}

    class Keep(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            weights[trainer.current_epoch + 1] = pl_module.get_parameter("network.output.weight").clone()

    model = Script(losses, regularizer={"early_stopping": {"patience": patience}})
    trainer = bare_trainer(len(losses), callbacks=[Keep()])

    trainer.fit(model, datamodule=Digits())

    assert (max(weights), int(model.get_buffer("trained"))) == (end, best)
    assert stopped_at(losses, patience) == (end, best)
    assert torch.equal(model.get_parameter("network.output.weight"), weights[best])
    assert not torch.equal(weights[best], weights[end]) or best == end


def test_early_stopping_on_real_data_restores_the_lowest_loss(bare_trainer: Callable[..., Trainer]) -> None:
    seen: list[float] = []

    class Watch(Callback):
        def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if not trainer.sanity_checking:
                seen.append(float(trainer.callback_metrics["validation_loss"]))

    data = Digits(batch_size=32, validation=50)
    model = small(
        hidden=[64], optimizer={"adam": {"lr": 0.03}}, regularizer={"early_stopping": {"patience": 2}}
    )
    bare_trainer(60, callbacks=[Watch()]).fit(model, datamodule=data)
    (after,) = bare_trainer().validate(model, datamodule=data, verbose=False)

    assert len(seen) < 60
    assert len(seen) - (seen.index(min(seen)) + 1) == 2
    assert after["validation_loss"] == pytest.approx(min(seen), rel=1e-6)


def test_callbacks_are_those_that_the_regularizer_needs() -> None:
    assert small().configure_callbacks() == []
    stop, restore = small(regularizer={"early_stopping": {"patience": 5}}).configure_callbacks()

    assert isinstance(stop, EarlyStopping)
    assert stop.patience == 5
    assert isinstance(restore, RestoreBest)


def test_a_second_fit_starts_its_own_search_for_the_best(bare_trainer: Callable[..., Trainer]) -> None:
    data = Digits()
    model = small(regularizer={"early_stopping": {"patience": 1}}, optimizer={"sgd": {"lr": 1e-12}})
    bare_trainer(3).fit(model, datamodule=data)
    first = model.state_dict()["network.output.weight"].clone()

    model.get_parameter("network.output.weight").data.add_(1.0)
    bare_trainer(1).fit(model, datamodule=data)

    assert not torch.allclose(model.state_dict()["network.output.weight"], first, atol=0.5)
