"""What the measurements on a graphics processor train: the cells of `core`, read without the suite's checks.

Validating a suite takes pydantic, which a machine that only trains need not have; a test holds these cells
against the ones that the validated suite gives.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from recipebench import benchmarks
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.combinations import CATALOGS
from recipebench.datamodules.catalog import DATA, data_sha256

MATRIX = ("activation", "initializer", "regularizer", "optimizer")
"""The factors of `core`."""


@dataclass(frozen=True)
class Size:
    """How much is measured.

    Args:
        data: what stands for MNIST and for Fashion-MNIST.
        cells: of every group of cells that are trained, at most; None for all.
        epochs: of the cells, at most.
        rounds: how often the ensemble trains an epoch.
        members: of the ensemble.
        product: side of the matrices whose product is timed.
        floats: numbers that are copied.
    """

    data: tuple[str, str]
    cells: int | None
    epochs: int
    rounds: int
    members: int
    product: int
    floats: int

    @property
    def images(self) -> str:
        """What stands for MNIST."""
        return self.data[0]


FULL = Size(("mnist", "fashion_mnist"), None, 1_000, 5, 200, 8192, 2**28)
TINY = Size(("digits", "wine"), 8, 1, 2, 10, 64, 2**12)
"""Everything once, in seconds, to see that it works: it says nothing about speed."""


def core_cells(device: str, size: Size = FULL) -> list[Cell]:
    """Return the cells of the suite `core`, in its order, on a device in its words, `cpu` or `gpu`."""
    path = Path(next(iter(benchmarks.__path__))) / "suites" / "core.yaml"
    suite = yaml.safe_load(path.read_text(encoding="utf-8"))
    stand_ins = dict(zip(FULL.data, size.data, strict=True))
    found = []
    for data in suite["data"]:
        choice = DATA.choose(stand_ins.get(data, data))
        settings = {k: v for k, v in suite["protocol"].items() if k != "per_data"}
        settings |= suite["protocol"]["per_data"].get(data, {})
        settings["epochs"] = min(settings["epochs"], size.epochs)
        content = data_sha256(choice)
        for levels in itertools.product(*(suite["matrix"][factor] for factor in MATRIX)):
            chosen: dict[str, Any] = {f: CATALOGS[f].choose(v) for f, v in zip(MATRIX, levels, strict=True)}
            model = CATALOGS["model"].choose(suite["model"])
            found += [
                Cell(choice, model, **chosen, **settings, device=device, seed=seed, data_sha256=content)
                for seed in range(suite["seeds"])
            ]
    return found


def of_images(cells: Sequence[Cell], size: Size) -> list[Cell]:
    """Return the part of the cells on MNIST, or on what stands in its place: a fixed draw if not all."""
    return drawn([cell for cell in cells if cell.data.name == size.images], size.cells)


def drawn(cells: Sequence[Cell], count: int | None) -> list[Cell]:
    """Return so many of the cells, a fixed draw, in their order; all for None."""
    if count is None or count >= len(cells):
        return list(cells)
    chosen = sorted(random.Random(0).sample(range(len(cells)), count))
    return [cells[i] for i in chosen]


def in_precision(cells: Sequence[Cell], precision: Any) -> list[Cell]:
    """Return the same cells, computed with other numbers."""
    return [replace(cell, precision=precision) for cell in cells]
