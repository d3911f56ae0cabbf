"""Estimates how long packs will take here, from this machine's rate of matrix products."""

from __future__ import annotations

from collections.abc import Sequence

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.speed.products import product_rate
from recipebench.datamodules.catalog import facts_of, split_sizes

STEP_OVERHEAD = 12e-6
"""Seconds that a step costs each member of a pack beyond its products."""

ALONE_OVERHEAD = 5e-4
"""Seconds that a step costs a cell that trains alone."""

EFFICIENCY = 0.6
"""Share of the rate of large products that training reaches."""


def estimate_seconds(packs: Sequence[Pack], workers: int) -> float:
    """Return seconds until all packs are trained: a rough figure, good to a factor of two."""
    rate = EFFICIENCY * product_rate()
    return sum(_seconds(cell, rate, len(pack.cells) == 1) for pack in packs for cell in pack.cells) / workers


def _seconds(cell: Cell, rate: float, alone: bool) -> float:
    sizes = split_sizes(cell.data, cell.validation)
    weights = _weights(cell)
    steps = -(-sizes.train // cell.batch_size)
    evaluated = min(sizes.train, 10_000) + sizes.validation + sizes.test
    products = 6.0 * weights * sizes.train + 2.0 * weights * evaluated
    overhead = ALONE_OVERHEAD if alone else STEP_OVERHEAD
    return cell.epochs * (steps * overhead + products / rate)


def _weights(cell: Cell) -> float:
    """Count the weights of the linear layers."""
    facts = facts_of(cell.data.name)
    pieces = cell.activation.parameters.get("pieces", 1) if cell.activation else 1
    hidden = cell.model.parameters.get("hidden", ())
    assert isinstance(hidden, tuple)
    assert isinstance(pieces, int)
    widths = [facts.in_features, *hidden, facts.out_features]
    last = len(widths) - 2
    return sum(
        float(a * b * (pieces if i < last else 1))
        for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False))
    )
