"""Subsets, label noise, last batches, sampling, augmentation and standardization by feature."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from recipebench.datamodules import (
    Curve,
    Digits,
    Gates,
    HousePrices,
    Iris,
    SyntheticRegression,
    TensorDataModule,
    TwoGaussians,
)
from recipebench.datamodules.augmentation import augment
from recipebench.datamodules.base import Samples
from recipebench.datamodules.catalog import FACTS, split_sizes
from recipebench.datamodules.draws import noisy_labels
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.seeds import seed_for

SHIFT = {"translate": {"pixels": 1}}


def ready(cls: Callable[..., TensorDataModule], **options: Any) -> TensorDataModule:
    data = cls(**options)
    data.setup()
    return data


def hundred(**options: Any) -> TensorDataModule:
    """Exactly 100 training samples."""
    return ready(Gates, n=200, validation=60, batch_size=60, **options)


def test_smaller_training_sets_are_subsets_of_larger_ones() -> None:
    every = ready(Digits, seed=3)
    parts = [ready(Digits, seed=3, train_samples=n) for n in (1, 10, 100, 1294)]
    sets = [set(part.train.indices.tolist()) for part in parts]

    assert [len(part.train) for part in parts] == [1, 10, 100, 1294]
    assert all(small < large for small, large in pairwise(sets))
    assert torch.equal(parts[-1].train.indices, every.train.indices)
    for part in parts:
        assert len(part.train) == split_sizes(part.choice, 0.1, part.train_samples).train
        assert torch.equal(part.train.indices.sort().values, part.train.indices)
        assert torch.equal(part.validation.indices, every.validation.indices)
        assert torch.equal(part.test.indices, every.test.indices)
        assert torch.equal(part.order(2).sort().values, part.train.indices)


def test_a_training_set_is_the_first_of_the_permutation() -> None:
    part = ready(Digits, seed=5, train_samples=20)
    stream = torch.Generator().manual_seed(seed_for("split", "digits", 5))

    shuffled = torch.randperm(1797, generator=stream)

    assert torch.equal(part.train.indices, shuffled[359 + 144 :][:20].sort().values)


@pytest.mark.parametrize("share", [0.2, 0.05, 0.001, 0.9])
def test_exactly_a_share_of_the_training_labels_is_wrong(share: float) -> None:
    clean, noisy = ready(Digits, seed=1), ready(Digits, seed=1, label_noise=share)
    rows = clean.train.indices

    changed = clean.train.targets[rows] != noisy.train.targets[rows]

    assert changed.sum().item() == round(share * 1294)
    assert 0 <= noisy.train.targets.min() <= noisy.train.targets.max() <= 9
    others = torch.ones(1797, dtype=torch.bool)
    others[rows] = False
    assert torch.equal(clean.train.targets[others], noisy.train.targets[others])


def test_validation_and_test_stay_clean() -> None:
    clean, noisy = ready(Digits), ready(Digits, label_noise=0.5)

    assert not torch.equal(clean.train.targets, noisy.train.targets)
    assert noisy.validation.targets is noisy.test.targets is clean.train.targets
    assert torch.equal(noisy.train.indices, clean.train.indices)
    assert torch.equal(noisy.order(1), clean.order(1))
    assert noisy.train.inputs is clean.train.inputs
    assert (clean.targets_are_shared, noisy.targets_are_shared) == (True, False)


def test_wrong_labels_are_uniform_over_the_other_classes() -> None:
    targets = torch.full((9000,), 4)

    noisy = noisy_labels(targets, torch.arange(9000), 0.99, 10, "a test")
    counts = noisy.bincount(minlength=10)

    assert counts[4] == 90
    assert torch.equal(targets, torch.full((9000,), 4))
    chi_square = ((counts.double() - 990) ** 2 / 990)[torch.arange(10) != 4].sum()
    assert chi_square < 26.1  # 99.9 % of chi-square with 8 degrees of freedom


def test_label_noise_has_its_documented_stream_and_grows() -> None:
    clean = ready(Digits)
    rows = clean.train.indices
    noisy = [ready(Digits, label_noise=share).train.targets for share in (0.1, 0.3)]
    other = ready(Digits, label_noise=0.3, seed=1).train.targets

    few, many = (noise != clean.train.targets for noise in noisy)

    assert few.sum() < many.sum()
    assert torch.equal(noisy[1][few], noisy[0][few])
    assert not torch.equal(noisy[1], other)
    stream = torch.Generator().manual_seed(seed_for("label_noise", "digits", 0))
    chosen = rows[torch.randperm(1294, generator=stream)[: round(0.3 * 1294)]]
    assert torch.equal(many.nonzero().flatten(), chosen.sort().values)


def test_the_three_last_batches_of_100_samples_in_batches_of_60() -> None:
    keep, drop, refill = (hundred(last_batch=policy) for policy in ("keep", "drop", "refill"))
    assert len(keep.train) == 100

    assert [[len(y) for _, y in data.train_dataloader()] for data in (keep, drop, refill)] == [
        [60, 40],
        [60],
        [60, 60],
    ]
    assert [len(data.train_dataloader()) for data in (keep, drop, refill)] == [2, 1, 2]
    first, second = keep.order(1), keep.order(2)
    assert torch.equal(first.sort().values, keep.train.indices)
    assert torch.equal(drop.order(1), first[:60])
    assert torch.equal(refill.order(1), torch.cat([first, second[:20]]))
    assert torch.equal(refill.order(2)[:100], second)


def test_refill_goes_on_until_a_large_batch_is_full() -> None:
    data = ready(Gates, n=20, validation=4, batch_size=30, last_batch="refill")
    plain = ready(Gates, n=20, validation=4)

    assert len(data.train) == 12
    assert torch.equal(data.order(1), torch.cat([plain.order(e) for e in (1, 2, 3)])[:30])


@pytest.mark.parametrize("policy", ["keep", "drop", "refill"])
def test_policies_agree_where_batches_are_full(policy: str) -> None:
    data = ready(Gates, n=200, validation=60, batch_size=50, last_batch=policy)

    assert torch.equal(data.order(3), hundred().order(3))


def test_replacement_draws_as_many_and_misses_a_share_of_1_over_e() -> None:
    data = ready(SyntheticRegression, n=20_000, sampling="replacement")
    n = len(data.train)
    order = data.order(1)

    assert len(order) == n == 14_400
    assert set(order.tolist()) <= set(data.train.indices.tolist())
    missed = 1 - len(order.unique()) / n
    assert missed == pytest.approx((1 - 1 / n) ** n, abs=0.01)
    stream = torch.Generator().manual_seed(seed_for("order", data.key, 0, 1))
    assert torch.equal(order, data.train.indices[torch.randint(n, (n,), generator=stream)])
    assert not torch.equal(order, data.order(2))


@pytest.mark.parametrize(("policy", "length"), [("keep", 100), ("drop", 60), ("refill", 120)])
def test_replacement_keeps_to_the_last_batch_policy(policy: str, length: int) -> None:
    data = hundred(sampling="replacement", last_batch=policy)

    assert len(data.order(1)) == length
    assert sum(len(y) for _, y in data.train_dataloader()) == length


class Seen(LightningModule):
    """Remembers what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.shown: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        self.shown.append(batch[0])
        return self.weight * batch[0].mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("inputs", ["unit", "standardized"])
def test_lightning_sees_augmented_batches_that_can_be_repeated(inputs: str) -> None:
    data = ready(Digits, augmentation=SHIFT, inputs=inputs, batch_size=500, seed=2)
    module = Seen()
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )

    trainer.fit(module, train_dataloaders=data.train_dataloader())

    again = [
        data.augment(data.float_inputs(data.train.inputs[rows]), noise)
        for epoch, noise in ((1, data.augmentation_noise(1)), (2, data.augmentation_noise(2)))
        for rows in data.order(epoch).split(500)
    ]
    assert len(module.shown) == len(again) == 6
    assert all(torch.equal(a, b) for a, b in zip(module.shown, again, strict=True))


def test_only_training_batches_are_augmented() -> None:
    plain, moved = ready(Digits), ready(Digits, augmentation=SHIFT)

    for name, same in (("train", False), ("val", True), ("test", True)):
        ours, theirs = (next(iter(getattr(data, f"{name}_dataloader")())) for data in (plain, moved))
        assert torch.equal(ours[0], theirs[0]) == same
        assert torch.equal(ours[1], theirs[1])


def test_augmentation_noise_is_the_documented_stream() -> None:
    data = ready(Digits, augmentation=SHIFT, seed=7)
    images = data.float_inputs(data.train.inputs[:20])
    stream = torch.Generator().manual_seed(seed_for("augmentation", "digits", 7, 3))

    ours = data.augment(images, data.augmentation_noise(3))

    assert torch.equal(ours, augment(Choice("translate", {"pixels": 1}), images, stream, fill=0.0))
    assert not torch.equal(ours, images)
    assert data.augmentation == Choice("translate", {"pixels": 1})


@pytest.mark.parametrize("spec", [SHIFT, "brightness", "rotate"])
def test_standardized_images_are_augmented_as_unit_ones(spec: Any) -> None:
    unit = ready(Digits, augmentation=spec)
    standardized = ready(Digits, augmentation=spec, inputs="standardized")
    raw = unit.train.inputs[:50]
    mean, std = FACTS["digits"].mean, FACTS["digits"].std

    first = unit.augment(unit.float_inputs(raw), unit.augmentation_noise(1))
    second = standardized.augment(standardized.float_inputs(raw), standardized.augmentation_noise(1))

    assert torch.allclose(second, (first - mean) / std, atol=1e-5)


def test_without_augmentation_nothing_is_copied() -> None:
    data = ready(Digits)
    images = data.float_inputs(data.train.inputs[:2])

    assert data.augment(images, data.augmentation_noise(1)) is images


def test_features_are_standardized_by_the_training_split() -> None:
    data = ready(HousePrices, inputs="standardized", seed=4)
    members = data.float_inputs(data.train.inputs[data.train.indices]).double()
    held_out = data.float_inputs(data.test.inputs[data.test.indices]).double()
    raw = data.train.inputs[data.train.indices].double()

    assert members.mean(0).tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert members.std(0, unbiased=False).tolist() == pytest.approx([1, 1, 1], abs=1e-6)
    expected = (data.test.inputs[data.test.indices].double() - raw.mean(0)) / raw.std(0, unbiased=False)
    assert torch.allclose(held_out, expected, atol=1e-5)
    assert held_out.mean(0).abs().max() > 1e-3


def test_statistics_follow_the_seed_and_the_subset_and_not_the_order_of_the_call() -> None:
    raw = Iris().load()[0].inputs
    versions = [
        ready(Iris, inputs="standardized"),
        ready(Iris, inputs="standardized", seed=1),
        ready(Iris, inputs="standardized", train_samples=20),
    ]

    standardized = [data.float_inputs(raw) for data in versions]

    assert not torch.equal(standardized[0], standardized[1])
    assert not torch.equal(standardized[0], standardized[2])
    assert torch.equal(versions[0].float_inputs(raw[7:9]), standardized[0][7:9])
    with pytest.raises(RuntimeError, match=r"iris: call setup\(\) before train"):
        Iris(inputs="standardized").float_inputs(raw)


def test_a_constant_feature_is_divided_by_1(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = torch.cat([torch.full((30, 1), 0.1), torch.arange(30.0)[:, None]], dim=1)
    samples = Samples(inputs, torch.arange(30) % 3)
    monkeypatch.setattr(Iris, "load", lambda self: (samples, None))
    data = ready(Iris, inputs="standardized")

    out = data.float_inputs(inputs)

    assert torch.equal(out[:, 0], torch.zeros(30))
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("cls", "inputs", "shared"),
    [
        (Digits, "unit", True),
        (Digits, "standardized", True),
        (SyntheticRegression, "standardized", True),
        (Iris, "unit", True),
        (Iris, "standardized", False),
        (TwoGaussians, "standardized", False),
    ],
)
def test_inputs_are_shared_unless_the_split_decides(
    cls: Callable[..., TensorDataModule], inputs: str, shared: bool
) -> None:
    data = cls(inputs=inputs)

    assert data.inputs_are_shared is shared
    assert data.targets_are_shared


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (
            Digits,
            {"train_samples": 1295},
            "digits: train_samples: expected a count from 1 to 1294, the .* 1295",
        ),
        (Digits, {"train_samples": 0}, "train_samples: expected a whole number of at least 1, got 0"),
        (Digits, {"train_samples": 0.5}, r"train_samples: expected a whole number of at least 1, got 0\.5"),
        (Digits, {"train_samples": False}, "train_samples: expected a whole number of at least 1, got False"),
        (
            Digits,
            {"label_noise": 1.0},
            "digits: label_noise: expected a share of at least 0 and below 1, got 1",
        ),
        (Digits, {"label_noise": -0.1}, "label_noise: expected a share"),
        (Digits, {"label_noise": float("nan")}, "label_noise: expected a share"),
        (Digits, {"label_noise": True}, "label_noise: expected a share"),
        (Digits, {"label_noise": "0.2"}, "label_noise: expected a share"),
        (Curve, {"label_noise": 0.2}, r"curve: label_noise: expected 0, because .* regression, got 0\.2"),
        (Digits, {"last_batch": "dorp"}, r"digits: Unknown last_batch 'dorp'. .* Did you mean 'drop'\?"),
        (Digits, {"last_batch": None}, "digits: Unknown last_batch None"),
        (Digits, {"sampling": "shuffle"}, r"Unknown sampling 'shuffle'. .* Did you mean 'shuffled'\?"),
        (Digits, {"augmentation": "rotat"}, r"Unknown augmentation 'rotat'. .* Did you mean 'rotate'\?"),
        (
            Iris,
            {"augmentation": "rotate"},
            r"iris: augmentation: expected none, .* rotate needs images .* \(4,\)",
        ),
        (
            Digits,
            {"last_batch": "drop", "batch_size": 1295},
            "digits: last_batch: drop leaves no batch: expected a batch_size of at most 1294, .* got 1295",
        ),
    ],
)
def test_options_that_do_not_fit_are_named(
    cls: Callable[..., TensorDataModule], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        ready(cls, **options)


def test_no_noise_is_no_noise_for_regression_too() -> None:
    assert ready(Curve, label_noise=0).targets_are_shared
