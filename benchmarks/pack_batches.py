"""The batches of K data modules in step: each member its own order, equal batches gathered once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from recipebench.datamodules import TensorDataModule
from recipebench.lightning_modules.packed import Inputs
from recipebench.lightning_modules.shares import Share

STEPS_PER_BLOCK = 64
"""Steps between two returns to the trainer, which updates progress and handles interrupts there."""

SHARED_FLOATS = 2**14
"""Batches of at least so many floats are shared by members of one order, smaller ones copied and stacked."""


class PackBatches:
    """An epoch as blocks of steps for `PackedModule.training_step`; an iterable, as Lightning's loaders are.

    Members of the same data module (same data set, same seed) see the same batches, which are gathered
    and converted once.

    Args:
        data: one data module for each order, set up, of one data set and batch size.
        members: for each of the K members, the place of its data module in `data`.
        share: what of every batch this process gets.
    """

    def __init__(
        self, data: Sequence[TensorDataModule], members: Sequence[int], share: Share | None = None
    ) -> None:
        self.data = data
        self.members = members
        self.share = share or Share()
        self.sampler = self
        self.samples = len(data[0].order(1))
        self.batch_size = data[0].batch_size
        self._rows = torch.tensor(members, device=data[0].train.indices.device)
        self._epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch next; Lightning counts from 0, orders from 1."""
        self._epoch = epoch + 1

    def __len__(self) -> int:
        return -(-self.samples // (self.batch_size * STEPS_PER_BLOCK))

    def __iter__(self) -> Iterator[Iterator[tuple[Inputs, Tensor, int]]]:
        orders = torch.stack([data.order(self._epoch) for data in self.data])
        noise = [data.augmentation_noise(self._epoch) for data in self.data]
        for block in orders.split(self.batch_size * STEPS_PER_BLOCK, dim=1):
            yield (self._batch(step, noise) for step in block.split(self.batch_size, dim=1))

    def _batch(self, indices: Tensor, noise: Sequence[torch.Generator]) -> tuple[Inputs, Tensor, int]:
        """Gather this process's part of indices (orders, batch) into the shared training data.

        Images are augmented before they are cut, by noise that is drawn for the whole batch.
        """
        own = self.share.cut(indices, 1)
        if self.data[0].augmentation.name == "none":
            inputs = self._inputs(own)
        else:
            each = zip(self.data, self._inputs(indices).unbind(), noise, strict=True)
            augmented = torch.stack([d.augment(x, generator) for d, x, generator in each])
            inputs = self.share.cut(augmented, 1).contiguous()
        return self._spread(inputs), self._targets(own).index_select(0, self._rows), indices.shape[1]

    def _inputs(self, indices: Tensor) -> Tensor:
        source = self.data[0]
        raw = source.train.inputs.index_select(0, indices.reshape(-1))
        if source.inputs_are_shared:
            shared: Tensor = source.float_inputs(raw).unflatten(0, indices.shape)
            return shared
        each = zip(self.data, raw.unflatten(0, indices.shape).unbind(), strict=True)
        return torch.stack([data.float_inputs(x) for data, x in each])

    def _targets(self, indices: Tensor) -> Tensor:
        if self.data[0].targets_are_shared:
            gathered = self.data[0].train.targets.index_select(0, indices.reshape(-1))
            shared: Tensor = gathered.unflatten(0, indices.shape)
            return shared
        each = zip(self.data, indices.unbind(), strict=True)
        return torch.stack([data.train.targets.index_select(0, chosen) for data, chosen in each])

    def _spread(self, inputs: Tensor) -> Inputs:
        if len(self.data) == len(self.members):
            return inputs
        if inputs[0].numel() < SHARED_FLOATS:
            return inputs.index_select(0, self._rows)
        each = inputs.unbind()
        return [each[order] for order in self.members]
