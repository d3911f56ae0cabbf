"""What the report is told of how levels of one's own go into packs."""

from __future__ import annotations

from collections.abc import Sequence

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.packs import signature
from recipebench.reports.own_levels import Packing


def packing_of(cells: Sequence[Cell]) -> Packing | None:
    """Return which optimizers of plug-ins are declared element-wise, and which cells cannot be packed.

    Loads torch where there are such cells, as their plug-ins have already.

    Args:
        cells: the planned cells of a suite.

    Returns:
        None where no level came from a plug-in.
    """
    own = [cell for cell in cells if cell.plugins]
    if not own:
        return None
    from recipebench.benchmarks.training import why_alone
    from recipebench.lightning_modules.optimizers import ELEMENTWISE, SHIPPED

    kinds = {signature(cell): cell for cell in own}
    reasons = {kind: reason for kind, cell in kinds.items() if (reason := why_alone(cell))}
    alone = {cell.id: reasons[kind] for cell in own if (kind := signature(cell)) in reasons}
    return Packing(frozenset(ELEMENTWISE - SHIPPED), alone)
