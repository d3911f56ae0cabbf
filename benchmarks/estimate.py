"""Estimates how long packs will take here, from this machine's rate of matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.packs import Pack, work
from recipebench.benchmarks.speed.products import product_rate
from recipebench.datamodules.catalog import split_sizes

STEP_OVERHEAD = 12e-6
"""Seconds that a step costs each member of a pack beyond its products."""

ALONE_OVERHEAD = 5e-4
"""Seconds that a step costs a cell that trains alone."""

EFFICIENCY = 0.6
"""Share of the rate of large products that training reaches."""


def estimate_seconds(packs: Sequence[Pack], workers: int) -> float:
    """Return seconds until all packs are trained: a rough figure, good to a factor of two."""
    rate = EFFICIENCY * _rate_of_one_thread()
    total = sum(_seconds(cell, rate, len(pack.cells) == 1) for pack in packs for cell in pack.cells)
    return total / max(1, min(workers, len(packs)))


def _rate_of_one_thread() -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return product_rate()
    finally:
        torch.set_num_threads(threads)


def _seconds(cell: Cell, rate: float, alone: bool) -> float:
    steps = cell.epochs * -(-split_sizes(cell.data, cell.validation).train // cell.batch_size)
    return steps * (ALONE_OVERHEAD if alone else STEP_OVERHEAD) + work(cell) / rate
