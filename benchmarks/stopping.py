"""When a cell stops before its last epoch: the rules of models and of regularizers that act on the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recipebench.benchmarks.cells import Cell
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.stopping import has_converged

Rule = Callable[[Sequence[Mapping[str, Any]], int], bool]
"""From the history so far, row 0 first, and the best epoch, to whether to stop."""


def stopping_rule(cell: Cell) -> Rule | None:
    """Return the rule of a cell's model or regularizer; None where it trains all epochs."""
    if getattr(MODELS[cell.model.name], "one_pass", False):
        return lambda history, _: True
    if cell.regularizer is None:
        return None
    make = RULES.get(cell.regularizer.name)
    return make(**cell.regularizer.parameters) if make else None


def without_improvement(patience: int) -> Rule:
    """Stop when no epoch since the best one has had a lower validation loss, `patience` epochs in a row."""
    return lambda history, best_epoch: bool(history[-1]["epoch"] - best_epoch >= patience)


def converged(tolerance: float, patience: int) -> Rule:
    """Stop when the loss that the optimizer saw no longer changes; see `has_converged`."""
    return lambda history, _: has_converged([row["fit_loss"] for row in history[1:]], tolerance, patience)


RULES: dict[str, Callable[..., Rule]] = {
    "early_stopping": without_improvement,
    "convergence_stopping": converged,
}
"""The rules by regularizer."""
