"""Samples, splits and loaders: whole batches of tensors, nothing sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


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
        samples: indices in an order; None stands for as many as the split has.
        augment: for training, from an epoch to what is done to its batches of float32 inputs, one
            after the other; None leaves them alone.

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
        samples: int | None = None,
        augment: Callable[[int], Callable[[Tensor], Tensor]] | None = None,
    ) -> None:
        self.split = split
        self.batch_size = batch_size
        self.transform = transform
        self.sampler = EpochSampler(order) if order else None
        self.samples = len(split) if samples is None else samples
        self.augment = augment

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        indices = self.sampler.indices() if self.sampler else self.split.indices
        transform = self._transform()
        for chosen in torch.split(indices, self.batch_size):
            inputs = self.split.inputs.index_select(0, chosen)
            yield transform(inputs), self.split.targets.index_select(0, chosen)

    def _transform(self) -> Callable[[Tensor], Tensor]:
        if self.augment is None or self.sampler is None:
            return self.transform
        convert, augment = self.transform, self.augment(self.sampler.epoch + 1)
        return lambda inputs: augment(convert(inputs))
