"""An epoch of batches as the speed suite times it: gathered whole here, or sample by sample by torch."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from recipebench import datamodules
from recipebench.benchmarks.speed.steps import Work
from recipebench.datamodules.batches import Batches, Split
from recipebench.levels import Choice

WHOLE = "whole tensors"
BY_SAMPLE = "DataLoader"
LEVELS = (WHOLE, BY_SAMPLE)
"""The ways to batches: `datamodules.batches.Batches`, and torch's `DataLoader(TensorDataset)`, no workers."""

Loader = Iterable[tuple[Tensor, Tensor]]


def digits() -> Batches:
    """Return the training batches of the handwritten digits of scikit-learn, 64 features, 32 a batch."""
    data = datamodules.create(Choice("digits", {}), data_dir=None, batch_size=32, seed=0)
    data.setup("fit")
    return data.train_dataloader()


def images(samples: int = 8192) -> Batches:
    """Return batches of 128 made-up images, 28 x 28 bytes each, as those of MNIST are stored."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (samples, 1, 28, 28), generator=generator, dtype=torch.uint8)
    targets = torch.randint(10, (samples,), generator=generator)
    split = Split(inputs, targets, torch.arange(samples))

    def order(epoch: int) -> Tensor:
        return torch.randperm(samples, generator=torch.Generator().manual_seed(epoch))

    return Batches(split, batch_size=128, transform=lambda raw: raw.float().div_(255), order=order)


SOURCES = {"digits, batch 32": digits, "28 x 28 bytes, batch 128": images}
"""What is loaded, by the setting's name."""


def loader(level: str, setting: str) -> Loader:
    """Return one way to the batches of one setting; the samples are the same, each once.

    Args:
        level: one of `LEVELS`.
        setting: a key of `SOURCES`.
    """
    batches = SOURCES[setting]()
    if level == WHOLE:
        return batches
    split = batches.split
    inputs = batches.transform(split.inputs[split.indices])
    every = TensorDataset(inputs, split.targets[split.indices])
    shuffle = torch.Generator().manual_seed(0)
    return DataLoader(every, batch_size=batches.batch_size, shuffle=True, generator=shuffle)


def epoch(batches: Loader, device: str) -> Work:
    """Return a pass over all batches that puts each on the device."""

    def run() -> int:
        samples = 0
        for inputs, targets in batches:
            samples += len(inputs.to(device))
            targets.to(device)
        return samples

    return run
