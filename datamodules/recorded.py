"""What the matrix asks of every data module: its name and parameters, and what a model has to fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pytorch_lightning import LightningDataModule

from recipebench.datamodules.catalog import Facts, Task, data_key
from recipebench.datamodules.options import whole
from recipebench.levels import Choice, Value


class RecordedDataModule(LightningDataModule):
    """A data set, an environment or a surface; subclasses name themselves and declare their `facts`.

    Args:
        parameters: its own parameters in canonical form, all of them.
        batch_size: samples a batch.
        seed: names its random streams.

    Attributes:
        name: as in suites and records.
        facts: what is known of it.
        needs_files: whether it is read from files, and so takes a `data_dir`.
        choice: name and parameters.
        key: name and parameters as one string, the address of its random streams.

    Raises:
        RequestError: `batch_size` or `seed` is no whole number, or too small.
    """

    name: str
    facts: Facts
    needs_files: ClassVar[bool] = False

    def __init__(self, parameters: Mapping[str, Value], *, batch_size: int, seed: int) -> None:
        super().__init__()
        self.choice = Choice(self.name, dict(parameters))
        self.key = data_key(self.name, self.choice.parameters)
        self.batch_size = whole("batch_size", batch_size, minimum=1)
        self.seed = whole("seed", seed, minimum=0)

    @property
    def task(self) -> Task:
        """What is learned, or asked for."""
        return self.facts.task

    @property
    def in_features(self) -> int:
        """Numbers in one sample or observation; coordinates of a point on a surface."""
        return self.facts.in_features

    @property
    def out_features(self) -> int:
        """Outputs that a model needs: classes, actions, or 1."""
        return self.facts.out_features

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key}, seed={self.seed})"

    def __str__(self) -> str:
        return repr(self)
