"""Groups cells into packs: cells whose networks have one shape and whose runs have one length."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recipebench.benchmarks.cells import Cell
from recipebench.lightning_modules.catalog import REGULARIZERS

PACK_SIZE = 32
"""Cells in a pack unless asked otherwise: larger ones gain little and leave the processor's cache."""


@dataclass(frozen=True, eq=False)
class Pack:
    """Cells that are trained together.

    Args:
        cells: one or more cells of one signature.
        alone: why a single cell trains as plain PyTorch; None for a pack, or where it was asked for.
    """

    cells: tuple[Cell, ...]
    alone: str | None = None

    def halves(self) -> tuple[Pack, Pack]:
        """Split in two, to find the cell that makes a pack fail."""
        middle = len(self.cells) // 2
        return Pack(self.cells[:middle]), Pack(self.cells[middle:])


def plan(cells: Iterable[Cell], size: int, obstacles: dict[str, str] | None = None) -> list[Pack]:
    """Group cells by signature and cut each group into packs of nearly equal size.

    Inside a group, cells with the same optimizer follow each other, so that one step serves them all.
    No result depends on any of this.

    Args:
        cells: what is to be trained.
        size: cells in a pack at most; 1 trains every cell alone.
        obstacles: signatures that cannot be packed, with the reason.

    Raises:
        ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"Expected a pack size of at least 1, got {size}.")
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(signature(cell), []).append(cell)
    packs: list[Pack] = []
    for name, members in groups.items():
        if reason := (obstacles or {}).get(name):
            packs += [Pack((cell,), alone=reason) for cell in members]
        else:
            packs += [Pack(tuple(part)) for part in _cut(sorted(members, key=_neighborhood), size)]
    return packs


def signature(cell: Cell) -> str:
    """Return what cells must share to be packed: layers and their sizes, data, batches and epochs.

    A regularizer that puts layers into the network counts with its hyper-parameters; penalties,
    initial draws, optimizers and seeds may differ.
    """
    described = cell.to_json()
    if not REGULARIZERS[cell.regularizer.name].structural:
        described["regularizer"] = None
    for free in ("initializer", "optimizer", "seed"):
        described[free] = None
    return json.dumps(described, sort_keys=True)


def _neighborhood(cell: Cell) -> str:
    described = cell.to_json()
    return json.dumps([described[key] for key in ("optimizer", "regularizer", "initializer", "seed")])


def _cut(cells: Sequence[Cell], size: int) -> list[Sequence[Cell]]:
    parts = -(-len(cells) // size)
    edges = [round(i * len(cells) / parts) for i in range(parts + 1)]
    return [cells[a:b] for a, b in zip(edges, edges[1:], strict=False)]
