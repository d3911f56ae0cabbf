"""Groups cells into packs: cells whose networks have one shape and whose runs have one length."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.devices import device_parts
from recipebench.benchmarks.memory import cells_that_fit
from recipebench.datamodules.catalog import facts_of, split_sizes
from recipebench.lightning_modules import geometry
from recipebench.lightning_modules.catalog import REGULARIZERS
from recipebench.lightning_modules.model_catalog import CONVOLUTIONAL, layer_widths
from recipebench.lightning_modules.schedule_rules import MEASURED
from recipebench.lightning_modules.shapes import count_weights, hidden_widths

PACK_SIZES = (8, 64)
"""Fewest and most cells in a pack unless asked otherwise."""

PACK_WEIGHTS = 1_200_000
"""Weights in a pack, about: small networks gain from company, large ones leave the processor's cache."""

PACK_MULTIPLY_ADDS = 6_000_000
"""Multiply-adds of a sample's forward pass in a pack of convolutional networks, about.

Their members run one after the other, and only small ones gain from sharing the trainer's work.
"""


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


def plan(
    cells: Iterable[Cell],
    size: int | None = None,
    *,
    workers: int = 1,
    obstacles: dict[str, str] | None = None,
    memory: float | None = None,
) -> list[Pack]:
    """Group cells by signature and cut each group into packs of nearly equal size, longest first.

    Inside a group, cells with the same optimizer follow each other, so that one step serves them all,
    those whose schedule follows their own losses apart from the others.
    No result depends on any of this.

    Args:
        cells: what is to be trained.
        size: cells in a pack at most; 1 trains every cell alone; None lets the network decide.
        workers: how many will share the packs; no pack is so large that one would have nothing to do.
        obstacles: signatures that cannot be packed, with the reason.
        memory: bytes that a pack may take on a graphics processor; None where they are not known.

    Raises:
        ValueError: `size` is below 1.
    """
    if size is not None and size < 1:
        raise ValueError(f"Expected a pack size of at least 1, got {size}.")
    groups: dict[str, list[tuple[str, Cell]]] = {}
    for cell in cells:
        described = cell.to_json()
        groups.setdefault(_signature(cell, described), []).append((_neighborhood(cell, described), cell))
    share = max(1, -(-sum(map(len, groups.values())) // workers))
    packs: list[Pack] = []
    for name, members in groups.items():
        if reason := (obstacles or {}).get(name):
            packs += [Pack((cell,), alone=reason) for _, cell in members]
        else:
            together = [cell for _, cell in sorted(members, key=lambda member: member[0])]
            packs += [
                Pack(tuple(part))
                for part in _cut(together, min(size or good_size(together[0], memory), share))
            ]
    return sorted(packs, key=lambda pack: -len(pack.cells) * work(pack.cells[0]))


def good_size(cell: Cell, memory: float | None = None) -> int:
    """Return how many cells like this one make a good pack.

    On a graphics processor that is as many as its memory holds; where that turns out to be wrong, the pack
    is halved when it has run out of memory.

    Args:
        cell: one of them.
        memory: bytes that a pack may take on a graphics processor; None where they are not known.
    """
    if memory is not None and device_parts(cell.device)[0] == "gpu":
        return cells_that_fit(cell, weights(cell), memory)
    fewest, most = PACK_SIZES
    if _is_convolutional(cell):
        return min(most, max(1, PACK_MULTIPLY_ADDS // _multiply_adds(cell)))
    return min(most, max(fewest, PACK_WEIGHTS // weights(cell)))


def work(cell: Cell) -> float:
    """Return floating point operations for training and evaluating a cell, about."""
    sizes = split_sizes(cell.data, cell.validation, cell.train_samples)
    evaluated = min(sizes.train, 10_000) + sizes.validation + sizes.test
    return cell.epochs * _multiply_adds(cell) * (6.0 * sizes.train + 2.0 * evaluated)


def weights(cell: Cell) -> int:
    """Count the weights of a cell's linear layers and convolutions, without building them."""
    facts = facts_of(cell.data)
    if _is_convolutional(cell):
        return geometry.count_weights(
            cell.model.parameters, facts.shape, facts.out_features, pieces=_pieces(cell)
        )
    hidden = layer_widths(cell.model)
    if cell.activation and hidden:
        hidden = hidden_widths(facts.in_features, hidden, facts.out_features, cell.activation)
    return count_weights(facts.in_features, hidden, facts.out_features, _pieces(cell))


def _multiply_adds(cell: Cell) -> int:
    """Count the multiplications of a forward pass over one sample: a filter's weights are used many times."""
    if not _is_convolutional(cell):
        return weights(cell)
    facts = facts_of(cell.data)
    return geometry.count_multiply_adds(
        cell.model.parameters, facts.shape, facts.out_features, pieces=_pieces(cell)
    )


def _is_convolutional(cell: Cell) -> bool:
    return cell.model.name in CONVOLUTIONAL


def _pieces(cell: Cell) -> int:
    pieces = cell.activation.parameters.get("pieces", 1) if cell.activation else 1
    assert isinstance(pieces, int)
    return pieces


def signature(cell: Cell) -> str:
    """Return what cells must share to be packed: layers and their sizes, data, batches and epochs.

    A regularizer that puts layers into the network counts with its hyper-parameters; penalties,
    initial draws, optimizers, schedules and seeds may differ.
    """
    return _signature(cell, cell.to_json())


def _signature(cell: Cell, described: Mapping[str, Any]) -> str:
    free = {"initializer", "optimizer", "schedule", "seed"}
    if cell.regularizer and not REGULARIZERS[cell.regularizer.name].structural:
        free.add("regularizer")
    bound = {name: value for name, value in described.items() if name != "plugins" and name not in free}
    return json.dumps(bound | dict.fromkeys(free), sort_keys=True)


def _neighborhood(cell: Cell, described: Mapping[str, Any]) -> str:
    keys = ("optimizer", "schedule", "regularizer", "initializer", "seed")
    kind = [cell.optimizer and cell.optimizer.name, bool(cell.schedule and cell.schedule.name in MEASURED)]
    return json.dumps([kind, *(described.get(key) for key in keys)], sort_keys=True)


def _cut(cells: Sequence[Cell], size: int) -> list[Sequence[Cell]]:
    parts = -(-len(cells) // size)
    edges = [round(i * len(cells) / parts) for i in range(parts + 1)]
    return [cells[a:b] for a, b in itertools.pairwise(edges)]
