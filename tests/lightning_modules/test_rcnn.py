"""R-CNN: crops and losses worked by hand, what it detects, and that a plain loop trains it alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import Trainer
from torch import Tensor, nn

from recipebench.datamodules import DigitScenes
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules import RCNN, MeanAveragePrecision, create
from recipebench.lightning_modules.boxes import iou
from recipebench.lightning_modules.catalog import INITIALIZERS, OPTIMIZERS, SCHEDULES
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.rcnn_regions import (
    BETA,
    CONTEXT,
    assign,
    crop_regions,
    image_loss,
    objects,
    proposals,
)


@pytest.fixture(scope="module")
def data() -> DigitScenes:
    scenes = DigitScenes(n=60, batch_size=16)
    scenes.setup()
    return scenes


@pytest.fixture(autouse=True)
def own_random_numbers() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def a_batch(data: DigitScenes, n: int = 8) -> tuple[Tensor, Tensor]:
    return data.float_inputs(data.train.inputs[:n]), data.train.targets[:n]


def test_crops_of_a_slope_are_where_they_should_be() -> None:
    """Bilinear interpolation reproduces x + 100 y exactly, so each crop pixel tells where it was taken."""
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    image = ((x + 0.5) + 100 * (y + 0.5))[None, None]
    box = torch.tensor([[10.0, 8.0, 30.0, 20.0]])

    crop = crop_regions(image, [box], 8)[0, 0]

    steps = (torch.arange(8) + 0.5) / 8 - 0.5
    across = 20 + steps * 20 * (1 + 2 * CONTEXT)
    down = 14 + steps * 12 * (1 + 2 * CONTEXT)
    assert torch.allclose(crop, across[None] + 100 * down[:, None], rtol=1e-5)


def test_crops_come_image_after_image() -> None:
    images = torch.stack([torch.full((1, 20, 20), value) for value in (0.25, 0.5)])
    boxes = torch.tensor([[0.0, 0.0, 20.0, 20.0], [3.0, 3.0, 9.0, 5.0], [12.0, 0.0, 20.0, 4.0]])

    crops = crop_regions(images, [boxes[:1], boxes], 4)

    assert crops.shape == (4, 1, 4, 4)
    assert crops.mean((1, 2, 3)).tolist() == pytest.approx([0.25, 0.5, 0.5, 0.5])


def test_regions_go_to_the_object_they_overlap_most() -> None:
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0], [6.0, 0.0, 16.0, 10.0]])
    regions = torch.tensor([[1.0, 0.0, 11.0, 10.0], [5.0, 0.0, 15.0, 10.0], [0.0, 0.0, 10.0, 4.0]])

    owners, positive = assign(regions, truth)

    assert owners.tolist() == [0, 1, 0]
    assert positive.tolist() == [True, True, False]
    assert assign(regions, truth[:0])[1].tolist() == [False] * 3


def logits(*shares: list[float]) -> Tensor:
    return torch.tensor(shares).log()


def test_the_loss_by_hand() -> None:
    """Two positives and two of background; the second positive's offsets are wrong."""
    truth = {"boxes": torch.tensor([[0.0, 0.0, 10.0, 10.0]]), "labels": torch.tensor([1])}
    regions = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0], [20.0, 20.0, 30.0, 30.0], [0.0, 0.0, 2.0, 2.0]]
    )
    scores = logits([0.25, 0.5, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.1, 0.2, 0.7])
    offsets = torch.full((4, 2, 4), 7.0)  # of the other class, and of background: not looked at
    offsets[0, 1] = 0
    offsets[1, 1] = torch.tensor([0.5, 0.0, 0.0, 0.0])

    wanted = [0, 0.125, 0, math.log(1.25)]  # t_y = (5 - 4) / 8, t_h = log(10 / 8)
    moved = (0.5 - BETA / 2) + (0.125 - BETA / 2) + (wanted[3] - BETA / 2)
    found = (-math.log(0.5) + (-math.log(0.8) + moved)) / 2
    background = (-math.log(0.6) - math.log(0.7)) / 2
    loss = image_loss(regions, scores, offsets, truth)

    assert min(0.5, 0.125, wanted[3]) > BETA
    assert float(loss) == pytest.approx(0.25 * found + 0.75 * background)
    only = image_loss(regions[:2], scores[:2], offsets[:2], truth)
    assert float(only) == pytest.approx(found)
    nothing = {"boxes": torch.empty(0, 4), "labels": torch.empty(0, dtype=torch.int64)}
    assert float(image_loss(regions[2:], scores[2:], offsets[2:], nothing)) == pytest.approx(background)


def test_padding_is_no_object() -> None:
    rows = torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.0], [-1.0] * 5])

    assert objects(rows)["boxes"].tolist() == [[1, 2, 3, 4]]
    assert objects(rows)["labels"].tolist() == [0]


class Oracle(RCNN):
    """Knows the classes: sure of the label of a region that overlaps a true box well, else background."""

    def __init__(self, truth: list[dict[str, Tensor]], regions: list[Tensor]) -> None:
        super().__init__(init_seed=0)
        self.answers = torch.cat(
            [self.answer(true, boxes) for true, boxes in zip(truth, regions, strict=True)]
        )

    def answer(self, true: dict[str, Tensor], boxes: Tensor) -> Tensor:
        owners, _ = assign(boxes, true["boxes"])
        best = iou(boxes, true["boxes"]).max(1).values
        scores = torch.zeros(len(boxes), 11)
        scores[torch.arange(len(boxes)), true["labels"][owners]] = 20 * (best - 0.6)
        return scores

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        return self.answers, torch.zeros(len(crops), 10, 4)


def test_an_oracle_behind_the_proposals_detects_nearly_all(data: DigitScenes) -> None:
    images = data.float_inputs(data.test.inputs[:50])
    truth = [objects(rows) for rows in data.test.targets[:50]]
    metric = MeanAveragePrecision()

    detections = Oracle(truth, proposals(images)).predict(images)
    metric.update(detections, truth)

    assert float(metric.compute()) > 0.97
    for found in detections:
        assert found["scores"].tolist() == sorted(found["scores"].tolist(), reverse=True)
        assert ((found["boxes"] >= 0) & (found["boxes"] <= 64)).all()
        for label in found["labels"].unique():
            same = found["boxes"][found["labels"] == label]
            assert (iou(same, same).triu(1) <= 0.3).all()


def test_detections_of_an_untrained_model_have_the_promised_form(data: DigitScenes) -> None:
    images, _ = a_batch(data)

    detections = RCNN(init_seed=0).predict(images)

    assert len(detections) == 8
    for found in detections:
        n = len(found["labels"])
        assert found["boxes"].shape == (n, 4)
        assert (found["labels"].dtype, found["boxes"].dtype) == (torch.int64, torch.float32)
        assert found["scores"].shape == (n,)
        assert not found["scores"].requires_grad
        assert ((found["scores"] >= 0.05) & (found["scores"] <= 1)).all()


def test_an_empty_image_is_no_error() -> None:
    images = torch.zeros(2, 1, 32, 48)
    model = RCNN(init_seed=0)

    assert len(model.predict(images)) == 2
    assert model.losses(images, torch.full((2, 3, 5), -1.0)).isfinite().all()


def test_a_training_step_returns_what_is_recorded(data: DigitScenes) -> None:
    batch = a_batch(data)
    model = RCNN(init_seed=0)

    step = model.training_step(batch, 0)
    alone = torch.cat([model.losses(*(part[i : i + 1] for part in batch)) for i in range(8)])

    assert step["losses"].shape == (8,)
    assert torch.equal(step["loss"], step["losses"].mean())
    assert torch.allclose(step["losses"], alone, rtol=1e-5)
    assert step["loss"].requires_grad
    assert not step["losses"].requires_grad
    assert step["penalty"].item() == 0
    step["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_scores_are_those_of_losses_and_predictions(
    data: DigitScenes, bare_trainer: Callable[..., Trainer]
) -> None:
    model = RCNN(init_seed=0, optimizer={"adam": {"lr": 0.003}})
    bare_trainer(3, limit_val_batches=0).fit(model, datamodule=data)
    images, targets = a_batch(data, 60)
    rows = data.train.indices
    metric = MeanAveragePrecision()
    metric.update(model.predict(images[rows]), [objects(t) for t in targets[rows]])

    with torch.no_grad():
        loss = float(model.losses(images[rows], targets[rows]).mean())

    scores = model.eval().score(data, "train")

    assert set(scores) == {"loss", "average_precision"}
    assert scores["loss"] == pytest.approx(loss, rel=1e-5)
    assert scores["average_precision"] == pytest.approx(float(metric.compute()), abs=1e-6)
    assert scores == model.score(data, "train")
    assert scores != model.score(data, "validation")


def test_lightning_logs_the_same_scores(data: DigitScenes, bare_trainer: Callable[..., Trainer]) -> None:
    model = RCNN(init_seed=0)

    (validated,) = bare_trainer(1).validate(model, datamodule=data, verbose=False)
    (tested,) = bare_trainer(1).test(model, datamodule=data, verbose=False)

    for split, logged in (("validation", validated), ("test", tested)):
        expected = {f"{split}_{name}": value for name, value in model.score(data, split).items()}
        assert logged == pytest.approx(expected, rel=1e-5)


def test_a_bare_trainer_is_a_plain_loop(data: DigitScenes, bare_trainer: Callable[..., Trainer]) -> None:
    trained, looped = (RCNN(init_seed=1, optimizer="momentum") for _ in range(2))
    bare_trainer(2, limit_val_batches=0).fit(trained, datamodule=data)

    optimizer = torch.optim.SGD(looped.parameters(), lr=0.05, momentum=0.9)
    for epoch in (1, 2):
        for rows in data.order(epoch).split(16):
            optimizer.zero_grad()
            images, targets = data.float_inputs(data.train.inputs[rows]), data.train.targets[rows]
            looped.losses(images, targets).mean().backward()
            optimizer.step()

    for name, parameter in trained.named_parameters():
        assert torch.equal(parameter, looped.get_parameter(name)), name


def test_a_schedule_changes_the_rate(data: DigitScenes, bare_trainer: Callable[..., Trainer]) -> None:
    model = RCNN(
        init_seed=0,
        optimizer={"sgd": {"lr": 0.1}},
        schedule={"exponential": {"gamma": 0.5, "first_epoch": 0}},
    )
    assert model.learning_rate() == 0.1

    bare_trainer(2, limit_train_batches=1, limit_val_batches=0).fit(model, datamodule=data)

    assert model.learning_rates() == [pytest.approx(0.025)]


def test_it_learns_to_detect(bare_trainer: Callable[..., Trainer]) -> None:
    scenes = DigitScenes(n=250, max_objects=2, batch_size=8)
    model = RCNN(init_seed=0, optimizer={"adam": {"lr": 0.003}})

    scenes.setup()
    before = model.score(scenes, "test")

    bare_trainer(6, limit_val_batches=0).fit(model, datamodule=scenes)

    scores = model.eval().score(scenes, "test")
    assert before["average_precision"] < 0.1
    assert scores["average_precision"] > 0.45
    assert scores["loss"] < 0.3 * before["loss"]
    assert bool(model.finite())


def test_the_state_dict_restores_the_model(data: DigitScenes) -> None:
    model, other = RCNN(init_seed=0), RCNN(init_seed=1)
    images, _ = a_batch(data, 2)
    assert not torch.equal(model.scorer.weight, other.scorer.weight)

    other.load_state_dict(model.state_dict())

    for found, again in zip(model.predict(images), other.predict(images), strict=True):
        assert all(torch.equal(found[name], again[name]) for name in found)


def test_a_lost_weight_is_noticed_and_scored(data: DigitScenes) -> None:
    model = RCNN(init_seed=0)
    assert model.finite().tolist() == [True]
    with torch.no_grad():
        model.regressor.weight.fill_(math.nan)
        model.scorer.weight.fill_(math.nan)

    scores = model.score(data, "validation")

    assert model.finite().tolist() == [False]
    assert math.isnan(scores["loss"])
    assert scores["average_precision"] == 0


def test_the_catalog_makes_it() -> None:
    recipe = {
        "activation": None,
        "regularizer": None,
        "loss": None,
        "initializer": INITIALIZERS.choose("xavier"),
        "optimizer": OPTIMIZERS.choose("adam"),
        "schedule": SCHEDULES.choose("constant"),
    }
    choice: Choice = MODELS.choose({"rcnn": {"crop": 16}})

    model: nn.Module = create(
        choice, task="detection", in_shape=(1, 64, 64), out_features=10, init_seed=3, **recipe
    )

    assert isinstance(model, RCNN)
    assert (model.crop, model.classes, model.optimizer.name) == (16, 10, "adam")
    std = math.sqrt(2 / (32 * 4 * 4 + 64))
    weight = model.features.get_submodule("linear").weight.detach()
    assert float(weight.std()) == pytest.approx(std, rel=0.05)
    scores, offsets = model(F.pad(torch.ones(2, 1, 8, 8), (4, 4, 4, 4)))
    assert (scores.shape, offsets.shape) == ((2, 11), (2, 10, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 18}, "rcnn: crop: expected a multiple of 4, got 18"),
        ({"crop": 4}, "crop: expected a whole number between 8 and 64, got 4"),
        ({"suppression": 1.5}, "suppression: expected a number between 0 and 1"),
        ({"optimizer": "adm"}, "Did you mean 'adam'"),
    ],
)
def test_bad_requests_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        RCNN(**options)
