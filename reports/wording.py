"""How the report words things: numbers with their units, columns as people say them, safe file names."""

from __future__ import annotations

import hashlib
import math
import re

from recipebench.reports.suite_info import Endpoint

NO_VALUE = "\N{EN DASH}"
NO_RANKING = "not a ranking"
SETTINGS = (
    *("batch_size", "epochs", "inputs", "train_samples", "label_noise", "last_batch", "sampling"),
    *("precision", "device"),
)
"""Parts of the protocol: levels that say nothing without the name of their factor."""

_SPLITS = {"train": "training", "validation": "validation", "test": "test"}
_MEASURES = {
    "accuracy": "accuracy",
    "mse": "mean squared error",
    "r2": "R²",
    "loss": "loss",
    "average_precision": "mean average precision",
    "mean_return": "mean return",
    "distance": "distance to the minimum",
}


def is_share(measure: str) -> bool:
    """Whether a measure is a share that is shown in percent."""
    return measure == "accuracy"


def unit(measure: str) -> str:
    """Return the unit in which a measure is shown: `%` or nothing."""
    return "%" if is_share(measure) else ""


def number(value: float, measure: str = "") -> str:
    """Show a value: shares in percent with two decimals, all else with four significant digits.

    Example:
        >>> number(0.98123, "accuracy"), number(0.01234, "mse"), number(0.5, "mse")
        ('98.12', '0.01234', '0.5000')
    """
    if math.isnan(value):
        return NO_VALUE
    return f"{100 * value:.2f}" if is_share(measure) else f"{value:#.4g}".removesuffix(".")


def with_unit(value: float, measure: str) -> str:
    r"""Show a value with its unit, as in a sentence.

    Example:
        >>> with_unit(0.98123, "accuracy"), with_unit(0.5, "mse")
        ('98.12\xa0%', '0.5000')
    """
    return f"{number(value, measure)}\N{NO-BREAK SPACE}{unit(measure)}".rstrip()


def difference(value: float, measure: str) -> str:
    """Show a difference of two values.

    Example:
        >>> difference(0.0123, "accuracy"), difference(0.5, "mse")
        ('1.23 points', '0.5000')
    """
    return f"{number(value, measure)} points" if is_share(measure) else number(value, measure)


def signed(value: float, measure: str = "") -> str:
    """Show a difference with its sign, without a unit.

    Example:
        >>> signed(0.0123, "accuracy"), signed(-0.5), signed(-0.0, "accuracy")
        ('+1.23', '-0.5000', '0.00')
    """
    shown = number(value, measure)
    if not shown.strip("-0."):
        return shown.lstrip("-")
    return f"+{shown}" if value > 0 else shown


def signed_difference(value: float, measure: str) -> str:
    """Show a difference with its sign and unit.

    Example:
        >>> signed_difference(0.0123, "accuracy")
        '+1.23 points'
    """
    return f"{signed(value, measure)}{' points' if is_share(measure) else ''}"


def interval(low: float, high: float, measure: str) -> str:
    """Show an interval, or that there is none.

    Example:
        >>> interval(0.97, 0.985, "accuracy")
        '97.00 to 98.50'
    """
    return NO_VALUE if math.isnan(low) else f"{number(low, measure)} to {number(high, measure)}"


def count(value: float) -> str:
    """Show a count with thousands apart; several, as `low to high`, when they differ."""
    return NO_VALUE if math.isnan(value) else f"{value:,.0f}"


def count_of(value: int, one: str, several: str = "") -> str:
    """Show how many of something there are.

    Example:
        >>> count_of(1, "seed"), count_of(1200, "cell"), count_of(2, "category", "categories")
        ('1 seed', '1,200 cells', '2 categories')
    """
    return f"{value:,} {one if value == 1 else several or one + 's'}"


def count_range(low: float, high: float) -> str:
    """Show the range of a count.

    Example:
        >>> count_range(5, 5), count_range(5, 1200)
        ('5', '5 to 1,200')
    """
    return count(low) if low == high or math.isnan(low) else f"{count(low)} to {count(high)}"


def duration(seconds: float) -> str:
    """Show a duration in the unit that suits it.

    Example:
        >>> duration(0.0421), duration(75.0), duration(7300.0)
        ('0.042 s', '75 s', '2.03 h')
    """
    if math.isnan(seconds):
        return NO_VALUE
    if seconds >= 3600:
        return f"{seconds / 3600:.2f} h"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def measure_name(measure: str) -> str:
    """Return a measure as people say it; a name of one's own stays as it is."""
    return _MEASURES.get(measure, measure)


def endpoint_name(endpoint: Endpoint) -> str:
    """Say what an endpoint is.

    Example:
        >>> endpoint_name(Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1))
        'test accuracy at the best validation epoch'
    """
    split = endpoint.column.partition("_")[0]
    moment = "the best validation epoch" if endpoint.column.endswith("_at_best") else "the last epoch"
    return f"{_SPLITS.get(split, split)} {measure_name(endpoint.measure)} at {moment}"


def level_name(factor: str, label: str) -> str:
    """Name a level where its factor is not said beside it: a number or a mode is nothing by itself.

    Example:
        >>> level_name("batch_size", "32"), level_name("loss", "mse"), level_name("regularizer", "none")
        ('batch_size 32', 'mse', 'no regularizer')
    """
    if label == "none":
        return f"no {factor}"
    return f"{factor} {label}" if factor in SETTINGS else label


def better(endpoint: Endpoint) -> str:
    """Say which way is better."""
    return f"{endpoint.direction} is better"


def slug(name: str) -> str:
    """Return a file name for any string; unless it stays as it was, a hash keeps it apart from others.

    Example:
        >>> slug("fashion_mnist"), slug("../etc")
        ('fashion_mnist', 'etc-f7f9121f')
    """
    plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:40]
    if plain == name and plain:
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{plain}-{digest}".strip("-")
