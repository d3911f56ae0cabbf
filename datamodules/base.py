"""What all data modules share: splits, orders and whole batches of tensors, nothing sample by sample."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypedDict

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from recipebench.datamodules.catalog import (
    Facts,
    check_validation,
    data_key,
    held_out_count,
    validation_count,
)
from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice, Value
from recipebench.seeds import seed_for

INPUTS = ("unit", "standardized")
"""How raw values become a model's inputs; see `TensorDataModule.float_inputs`."""


class Options(TypedDict, total=False):
    """The options that every data module has; see `TensorDataModule`."""

    batch_size: int
    validation: int | float
    inputs: str
    seed: int


@dataclass(frozen=True, eq=False)
class Samples:
    """All samples of a file, raw: inputs (n, ...) uint8 or float32, targets (n,) int64 or (n, 1) float32."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """The samples of one split: raw tensors, and which of their rows belong to the split.

    Splits of one file share their tensors; treat them as read-only.

    Args:
        inputs: raw: uint8 images (n, 1, height, width), or float32 features (n, features).
        targets: int64 class numbers (n,), or float32 values (n, 1).
        indices: int64 (members,), ascending rows of `inputs` and `targets`.
    """

    inputs: Tensor
    targets: Tensor
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)


class EpochSampler:
    """The order of an epoch's samples, as Lightning's loops address it.

    Lightning calls `set_epoch` with a number from 0 before each training epoch; our epochs count from 1.

    Args:
        order: from an epoch, counted from 1, to int64 indices.
    """

    def __init__(self, order: Callable[[int], Tensor]) -> None:
        self.order = order
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose order the next iteration follows."""
        self.epoch = epoch

    def indices(self) -> Tensor:
        """Return the samples of the chosen epoch, in order: int64 (members,)."""
        return self.order(self.epoch + 1)


class Batches:
    """A loader of whole batches: each is gathered from the tensors at once, and the last may be short.

    An ordinary iterable that Lightning takes for a `DataLoader`; every process of a distributed run
    iterates over all samples.

    Args:
        split: what to iterate over.
        batch_size: samples a batch.
        transform: from raw inputs (batch, ...) to the float32 inputs of the model.
        order: for training, from an epoch (from 1) to the indices in that epoch's order; None keeps
            the split's own order. Chosen by `.sampler.set_epoch`, which Lightning calls.

    Example:
        >>> split = Split(torch.arange(5).view(5, 1), torch.arange(5), torch.tensor([0, 2, 4]))
        >>> for inputs, targets in Batches(split, batch_size=2, transform=Tensor.float):
        ...     print(inputs.tolist(), targets.tolist())
        [[0.0], [2.0]] [0, 2]
        [[4.0]] [4]
    """

    batch_sampler = None  # Lightning asks loaders with a sampler for it

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        transform: Callable[[Tensor], Tensor],
        order: Callable[[int], Tensor] | None = None,
    ) -> None:
        self.split = split
        self.batch_size = batch_size
        self.transform = transform
        self.sampler = EpochSampler(order) if order else None

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        indices = self.sampler.indices() if self.sampler else self.split.indices
        for chosen in torch.split(indices, self.batch_size):
            inputs = self.split.inputs.index_select(0, chosen)
            yield self.transform(inputs), self.split.targets.index_select(0, chosen)


class TensorDataModule(LightningDataModule):
    """A data set that fits in memory, as a Lightning data module.

    Subclasses name themselves, declare their `facts` and `load` their tensors. Split and orders depend
    on the data set, its parameters and `seed` only.

    Args:
        parameters: the data set's own parameters in canonical form, all of them.
        batch_size: samples a batch; the last batch of an epoch may be shorter.
        validation: samples (int) or share (float) of the training data set aside for validation.
        inputs: `unit` (images in [0, 1], features as they are) or `standardized` (mean 0, variance 1
            by the constants in `facts`).
        seed: names split and orders.

    Attributes:
        name: as in suites and records.
        facts: what is known of the data set.
        needs_files: whether it is read from files, and so takes a `data_dir`.
        choice: name and parameters.
        key: name and parameters as one string, the address of its random streams.

    Raises:
        RequestError: an option has the wrong type or value.
    """

    name: str
    facts: ClassVar[Facts]
    needs_files: ClassVar[bool] = False

    def __init__(
        self,
        parameters: Mapping[str, Value] | None = None,
        *,
        batch_size: int = 128,
        validation: int | float = 0.1,
        inputs: str = "unit",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.choice = Choice(self.name, dict(parameters or {}))
        self.key = data_key(self.name, self.choice.parameters)
        self.batch_size = _whole("batch_size", batch_size, minimum=1)
        self.seed = _whole("seed", seed, minimum=0)
        check_validation(validation, self.name)
        self.validation_size = validation
        if inputs not in INPUTS:
            raise RequestError(f"{self.name}: {unknown('inputs', inputs, INPUTS)}")
        self.inputs = inputs
        self._splits: dict[str, Split] = {}

    @property
    def task(self) -> Literal["classification", "regression"]:
        """What is learned."""
        return self.facts.task

    @property
    def in_features(self) -> int:
        """Numbers in one sample."""
        return self.facts.in_features

    @property
    def out_features(self) -> int:
        """Outputs that a model needs: classes, or 1 for regression."""
        return self.facts.out_features

    @property
    def train(self) -> Split:
        """The samples to train on; there after `setup`."""
        return self._split("train")

    @property
    def validation(self) -> Split:
        """The samples to choose by; there after `setup`. Shares its tensors with `train`."""
        return self._split("validation")

    @property
    def test(self) -> Split:
        """The samples to report on; there after `setup`. Never depends on `validation`."""
        return self._split("test")

    @abstractmethod
    def load(self) -> tuple[Samples, Samples | None]:
        """Return the training samples and the official test samples (None where there are none)."""

    def setup(self, stage: str | None = None) -> None:
        """Load and split the data; a second call does nothing.

        Args:
            stage: Lightning's name for what follows; all splits are made whatever it is.

        Raises:
            RequestError: files are missing or corrupt, or `validation` does not fit the data.
        """
        if not self._splits:
            self._splits = self._divide(*self.load())

    def float_inputs(self, raw: Tensor) -> Tensor:
        """Turn raw inputs into what a model takes; `raw` itself is left alone.

        unit: x = raw / scale, so images lie in [0, 1] (scale 255 or 16) and features stay as they are;
        standardized: (x - mean) / std, with the constants of `facts`.

        Args:
            raw: (batch, ...) as in `Split.inputs`, any number of samples.

        Returns:
            float32 of the same shape, the same bits for a sample in whatever batch it comes.
        """
        x = raw.to(torch.float32, copy=True).div_(self.facts.scale)
        return x.sub_(self.facts.mean).div_(self.facts.std) if self.inputs == "standardized" else x

    def order(self, epoch: int) -> Tensor:
        """Return the training samples in the order of an epoch.

        Args:
            epoch: counted from 1.

        Returns:
            int64 (members,): each of `train.indices` once.

        Raises:
            RequestError: `epoch` is no whole number of at least 1.
        """
        _whole("epoch", epoch, minimum=1)
        return self.train.indices[_permutation(len(self.train), "order", self.key, self.seed, epoch)]

    def train_dataloader(self) -> Batches:
        """Return the training batches, in a new order every epoch."""
        return self._batches(self.train, self.order)

    def val_dataloader(self) -> Batches:
        """Return the validation batches, in a fixed order."""
        return self._batches(self.validation)

    def test_dataloader(self) -> Batches:
        """Return the test batches, in a fixed order."""
        return self._batches(self.test)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key}, seed={self.seed})"

    def __str__(self) -> str:
        return repr(self)

    def _batches(self, split: Split, order: Callable[[int], Tensor] | None = None) -> Batches:
        return Batches(split, batch_size=self.batch_size, transform=self.float_inputs, order=order)

    def _split(self, name: str) -> Split:
        if not self._splits:
            raise RuntimeError(f"{self.name}: call setup() before {name}.")
        return self._splits[name]

    def _divide(self, samples: Samples, test: Samples | None) -> dict[str, Split]:
        shuffled = _permutation(len(samples.targets), "split", self.key, self.seed)
        held_out = 0 if test else held_out_count(len(shuffled))
        count = validation_count(self.validation_size, len(shuffled) - held_out, self.name)
        pieces = torch.split(shuffled, [held_out, count, len(shuffled) - held_out - count])
        tested, validated, trained = (_rows(samples, piece) for piece in pieces)
        if test:
            tested = _rows(test, torch.arange(len(test.targets)))
        return {"train": trained, "validation": validated, "test": tested}


def _rows(samples: Samples, indices: Tensor) -> Split:
    return Split(samples.inputs, samples.targets, indices.sort().values)


def _permutation(n: int, purpose: str, *names: object) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed_for(purpose, *names)))


def _whole(name: str, value: object, *, minimum: int) -> int:
    if type(value) is not int or value < minimum:
        raise RequestError(f"{name}: expected a whole number of at least {minimum}, got {value!r:.80}.")
    return value
