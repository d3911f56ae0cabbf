"""Splits, orders and batches of every data module, and Lightning's loops over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn

from recipebench.datamodules import DATA_MODULES, Digits, SyntheticRegression, TensorDataModule, create
from recipebench.datamodules.base import Batches, Split
from recipebench.datamodules.catalog import DATA, File, split_sizes
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.seeds import seed_for

# Lightning 2.6 asks torch 2.13 in a way that torch calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")

LEAN: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


IN_MEMORY = [
    name
    for name, cls in DATA_MODULES.items()
    if issubclass(cls, TensorDataModule) and cls.facts.task in ("classification", "regression")
]


@pytest.fixture(params=IN_MEMORY)
def make(
    request: pytest.FixtureRequest, real_files: Callable[[str], dict[File, Path]]
) -> Callable[..., TensorDataModule]:
    """Make a data module that is set up, of each data set in turn."""
    choice = DATA.choose(request.param)
    if DATA_MODULES[choice.name].needs_files:
        real_files(choice.name)

    def build(**options: Any) -> TensorDataModule:
        data = create(choice, **options)
        data.prepare_data()
        data.setup()
        return data

    return build


def indices(data: TensorDataModule) -> list[Tensor]:
    return [data.train.indices, data.validation.indices, data.test.indices]


@pytest.mark.parametrize("validation", [0.1, 0.37, 7])
def test_splits_are_disjoint_complete_and_of_the_promised_sizes(
    make: Callable[..., TensorDataModule], validation: float
) -> None:
    data = make(validation=validation)
    sizes = split_sizes(data.choice, validation)

    assert [len(split) for split in (data.train, data.validation, data.test)] == [
        sizes.train,
        sizes.validation,
        sizes.test,
    ]
    parts = indices(data)[: 2 if data.facts.test else 3]
    assert torch.cat(parts).sort().values.tolist() == list(range(len(data.train.targets)))
    if data.facts.test:
        assert data.test.indices.tolist() == list(range(data.facts.test))
        assert data.test.inputs is not data.train.inputs
    assert len(data.train.targets) == len(data.train.inputs)


def test_splits_depend_on_the_seed_only(make: Callable[..., TensorDataModule]) -> None:
    first = make(seed=0)
    torch.manual_seed(123)
    again = make(seed=0, batch_size=7, inputs="standardized")
    other = make(seed=1)

    assert all(torch.equal(a, b) for a, b in zip(indices(first), indices(again), strict=True))
    assert not torch.equal(first.train.indices, other.train.indices)
    assert not torch.equal(first.validation.indices, other.validation.indices)


def test_the_test_set_does_not_depend_on_validation(make: Callable[..., TensorDataModule]) -> None:
    small, large = make(validation=10), make(validation=100)

    assert torch.equal(small.test.indices, large.test.indices)
    assert set(small.validation.indices.tolist()) <= set(large.validation.indices.tolist())


def test_orders_hold_every_training_sample_once_and_differ(make: Callable[..., TensorDataModule]) -> None:
    data, other = make(seed=0), make(seed=1)
    orders = [data.order(epoch) for epoch in (1, 2, 3)] + [other.order(1)]

    for order, owner in zip(orders, [data, data, data, other], strict=True):
        assert order.dtype == torch.int64
        assert torch.equal(order.sort().values, owner.train.indices)
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(data.order(2), orders[1])


def test_streams_are_the_documented_ones() -> None:
    data = SyntheticRegression(seed=3, n=50)
    data.setup()
    key = 'synthetic_regression{"n":50,"noise":0.01,"teacher":"linear"}'

    def permutation(n: int, *names: object) -> Tensor:
        return torch.randperm(n, generator=torch.Generator().manual_seed(seed_for(*names)))  # type: ignore[arg-type]

    assert torch.equal(data.test.indices, permutation(50, "split", key, 3)[:10].sort().values)
    assert torch.equal(data.validation.indices, permutation(50, "split", key, 3)[10:14].sort().values)
    assert torch.equal(data.order(5), data.train.indices[permutation(36, "order", key, 3, 5)])


def test_data_sets_have_streams_of_their_own() -> None:
    first, second = SyntheticRegression(), SyntheticRegression(noise=0.1)
    first.setup()
    second.setup()

    assert not torch.equal(first.train.indices, second.train.indices)


@pytest.mark.parametrize("inputs", ["unit", "standardized"])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_batches_hold_every_sample_once_with_its_target(
    make: Callable[..., TensorDataModule], inputs: str, split: str
) -> None:
    data = make(batch_size=128, inputs=inputs)
    loader = getattr(data, f"{split}_dataloader")()
    members = {"train": data.train, "val": data.validation, "test": data.test}[split]
    expected = data.order(1) if split == "train" else members.indices

    batches = list(loader)

    assert len(batches) == len(loader) == math.ceil(len(members) / 128)
    assert {len(targets) for _, targets in batches[:-1]} <= {128}
    assert len(batches[-1][1]) == (len(members) - 1) % 128 + 1
    assert all(x.dtype == torch.float32 for x, _ in batches)
    assert torch.equal(torch.cat([y for _, y in batches]), members.targets[expected])
    # The same bits whether samples are converted batch by batch or all at once.
    assert torch.equal(torch.cat([x for x, _ in batches]), data.float_inputs(members.inputs[expected]))


def test_inputs_by_hand(make: Callable[..., TensorDataModule]) -> None:
    data, standardized = make(), make(inputs="standardized")
    raw = data.train.inputs[:50]
    before = raw.clone()
    facts = data.facts

    unit = data.float_inputs(raw)

    assert torch.equal(unit, raw.float() / facts.scale)
    if len(facts.shape) == 3:
        assert (unit.min().item(), unit.max().item()) == (0, 1)
    if facts.per_feature:
        members = data.train.inputs[data.train.indices].double()
        expected = (raw.double() - members.mean(0)) / members.std(0, unbiased=False)
    else:
        expected = (raw.double() / facts.scale - facts.mean) / facts.std
    assert torch.allclose(standardized.float_inputs(raw).double(), expected, atol=1e-5)
    assert torch.equal(raw, before)
    assert unit.data_ptr() != raw.data_ptr()


@pytest.mark.parametrize(("members", "batch_size"), [(5, 5), (5, 2), (5, 100), (1, 1), (6, 3)])
def test_number_of_batches(members: int, batch_size: int) -> None:
    split = Split(torch.arange(9.0)[:, None], torch.arange(9), torch.arange(members))

    loader = Batches(split, batch_size=batch_size, transform=Tensor.float)

    assert len(loader) == len(list(loader)) == math.ceil(members / batch_size)


def test_the_sampler_chooses_the_epoch_even_after_iter() -> None:
    data = Digits()
    data.setup()
    loader = data.train_dataloader()
    assert loader.sampler is not None

    iterator = iter(loader)  # Lightning makes the iterator first and sets the epoch afterwards
    loader.sampler.set_epoch(4)
    targets = torch.cat([y for _, y in iterator])

    assert torch.equal(targets, data.train.targets[data.order(5)])
    assert data.val_dataloader().sampler is None


def test_setup_is_idempotent_and_needed(make: Callable[..., TensorDataModule]) -> None:
    data = make()
    train = data.train
    data.setup("test")

    assert data.train is train
    with pytest.raises(RuntimeError, match=r"call setup\(\) before train"):
        _ = Digits().train


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size: expected a whole number of at least 1, got 0\."),
        ({"batch_size": 32.0}, r"batch_size: expected a whole number of at least 1, got 32\.0"),
        ({"batch_size": True}, "batch_size: expected a whole number"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": "0"}, "seed: expected a whole number of at least 0, got '0'"),
        ({"inputs": "units"}, r"digits: Unknown inputs 'units'\. .* Did you mean 'unit'\?"),
        ({"validation": 0}, "digits: validation: expected a count of at least 1 or a fraction"),
        ({"validation": 1.0}, "digits: validation: expected a count of at least 1 or a fraction"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Digits(**options)


@pytest.mark.parametrize("validation", [1438, 5000, 0.0001, 0.9999])
def test_validation_that_leaves_nothing_is_refused(validation: float) -> None:
    with pytest.raises(RequestError, match="digits: validation: expected 1 to 1437 of the 1438 training"):
        Digits(validation=validation).setup()


@pytest.mark.parametrize("epoch", [0, -1, 1.0])
def test_epochs_count_from_1(epoch: int) -> None:
    data = Digits()
    data.setup()

    with pytest.raises(RequestError, match="epoch: expected a whole number of at least 1"):
        data.order(epoch)


def test_unknown_options_and_names_raise() -> None:
    with pytest.raises(TypeError, match="num_workers"):
        create(Choice("digits", {}), num_workers=2)
    with pytest.raises(RequestError, match=r"Did you mean 'digits'\?"):
        create(Choice("digist", {}))
    with pytest.raises(RequestError, match="Unknown hyper-parameter 'N'"):
        create(Choice("synthetic_regression", {"N": 2}))


def test_data_dir_is_for_those_who_need_it(tmp_path: Path) -> None:
    assert create(Choice("mnist", {}), data_dir=tmp_path).data_dir == tmp_path  # type: ignore[attr-defined]
    assert not hasattr(create(Choice("digits", {}), data_dir=tmp_path), "data_dir")


def test_modules_print_what_they_are() -> None:
    data = Digits(seed=2)
    data.setup()

    assert str(data) == repr(data) == "Digits(digits, seed=2)"


class Recorder(LightningModule):
    """A linear model that notes the batches it is shown."""

    def __init__(self, data: TensorDataModule, lr: float = 0.03) -> None:
        super().__init__()
        self.layer = nn.Linear(data.in_features, data.out_features)
        self.regression = data.task == "regression"
        self.lr = lr
        self.seen: dict[str, list[Tensor]] = {}

    def loss(self, stage: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = batch
        self.seen.setdefault(stage, []).append(targets)
        outputs = self.layer(inputs.flatten(1))
        if self.regression:
            return nn.functional.mse_loss(outputs, targets)
        return nn.functional.cross_entropy(outputs, targets)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return self.loss(f"train {self.current_epoch}", batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.log("validation_loss", self.loss("validation", batch), batch_size=len(batch[1]))

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.log("test_loss", self.loss("test", batch), batch_size=len(batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def test_lightning_follows_our_orders_without_a_warning(make: Callable[..., TensorDataModule]) -> None:
    data = make(batch_size=500, seed=4)
    model = Recorder(data)
    trainer = Trainer(max_epochs=3, num_sanity_val_steps=0, **LEAN)

    trainer.fit(model, datamodule=data)

    for epoch in range(3):
        shown = torch.cat(model.seen[f"train {epoch}"])
        assert torch.equal(shown, data.train.targets[data.order(epoch + 1)])
    assert torch.equal(
        torch.cat(model.seen["validation"]),
        data.validation.targets[data.validation.indices].repeat(3, *[1] * (data.validation.targets.ndim - 1)),
    )
    model.seen.clear()
    trainer.validate(model, datamodule=data, verbose=False)
    trainer.test(model, datamodule=data, verbose=False)
    assert torch.equal(torch.cat(model.seen["validation"]), data.validation.targets[data.validation.indices])
    assert torch.equal(torch.cat(model.seen["test"]), data.test.targets[data.test.indices])


def test_the_train_loader_can_be_evaluated_on() -> None:
    data = Digits()
    data.setup()
    model = Recorder(data)

    Trainer(**LEAN).validate(model, data.train_dataloader(), verbose=False)

    assert torch.equal(torch.cat(model.seen["validation"]), data.train.targets[data.order(1)])


def test_a_resumed_run_sees_the_orders_of_its_epochs(tmp_path: Path) -> None:
    data = Digits()
    trainer = Trainer(max_epochs=2, **LEAN)
    trainer.fit(Recorder(data), datamodule=data)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    model = Recorder(data)

    Trainer(max_epochs=4, **LEAN).fit(model, datamodule=data, ckpt_path=tmp_path / "two.ckpt")

    assert [key for key in model.seen if key.startswith("train")] == ["train 2", "train 3"]
    for epoch in (2, 3):
        shown = torch.cat(model.seen[f"train {epoch}"])
        assert torch.equal(shown, data.train.targets[data.order(epoch + 1)])


@pytest.mark.filterwarnings("ignore:Starting from v1.9.0, `tensorboardX`:UserWarning")
def test_a_bare_trainer_learns_the_true_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    data = SyntheticRegression(batch_size=10)
    model = Recorder(data)
    trainer = Trainer(max_epochs=3, accelerator="cpu")

    trainer.fit(model, datamodule=data)

    (metrics,) = trainer.test(model, datamodule=data, verbose=False)
    assert metrics["test_loss"] < 1e-4
    weights = (model.layer.weight[0] * data.target_std).tolist()
    bias = model.layer.bias.item() * data.target_std + data.target_mean
    assert [*weights, bias] == pytest.approx([2.0, -3.4, 4.2], abs=0.02)
