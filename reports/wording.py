"""How the report words things: numbers with their units, columns as people say them, safe file names."""

from __future__ import annotations

import hashlib
import math
import re

from recipebench.reports.language import N_, gettext, ngettext, say
from recipebench.reports.suite_info import Endpoint

NO_VALUE = "\N{EN DASH}"
SETTINGS = (
    *("batch_size", "epochs", "inputs", "train_samples", "label_noise", "last_batch", "sampling"),
    *("precision", "device"),
)
"""Parts of the protocol: levels that say nothing without the name of their factor."""

_SPLITS = {"train": N_("training"), "validation": N_("validation"), "test": N_("test")}
_PANELS = {"train": N_("train"), "validation": N_("validation")}
_MEASURES = {
    "accuracy": N_("accuracy"),
    "mse": N_("mean squared error"),
    "r2": N_("R²"),
    "loss": N_("loss"),
    "average_precision": N_("mean average precision"),
    "mean_return": N_("mean return"),
    "distance": N_("distance to the minimum"),
}
_FACTORS = {
    "data": N_("data"),
    "model": N_("model"),
    "activation": N_("activation"),
    "initializer": N_("initializer"),
    "regularizer": N_("regularizer"),
    "optimizer": N_("optimizer"),
    "loss": N_("loss"),
    "schedule": N_("schedule"),
    "augmentation": N_("augmentation"),
    "batch_size": N_("batch_size"),
    "epochs": N_("epochs"),
    "inputs": N_("inputs"),
    "train_samples": N_("train_samples"),
    "label_noise": N_("label_noise"),
    "last_batch": N_("last_batch"),
    "sampling": N_("sampling"),
    "precision": N_("precision"),
    "device": N_("device"),
}
_WORDS = {
    "planned": N_("planned"),
    "ok": N_("ok"),
    "diverged": N_("diverged"),
    "failed": N_("failed"),
    "missing": N_("missing"),
    "supported": N_("supported"),
    "refuted": N_("refuted"),
    "inconclusive": N_("inconclusive"),
    "default": N_("default"),
    "tuned": N_("tuned"),
    "low": N_("low"),
    "high": N_("high"),
    "both": N_("both"),
    "none": N_("none"),
    "all": N_("all"),
    "not in the records": N_("not in the records"),
    "other reasons": N_("other reasons"),
    "no reason given": N_("no reason given"),
    "reported cells": N_("reported cells"),
    "all searches": N_("all searches"),
    "decades": N_("decades"),
    "decades of 1 - x": N_("decades of 1 - x"),
    "units": N_("units"),
}
"""What stands in frames and files as it is, and on the page in its language."""


def is_share(measure: str) -> bool:
    """Whether a measure is a share that is shown in percent."""
    return measure == "accuracy"


def unit(measure: str) -> str:
    """Return the unit in which a measure is shown: `%` or nothing."""
    return "%" if is_share(measure) else ""


def number(value: float, measure: str = "") -> str:
    """Show a value: shares in percent with two decimals, all else with four significant digits.

    Example:
        >>> number(0.98123, "accuracy"), number(0.01234, "mse"), number(-0.0, "mse")
        ('98.12', '0.01234', '0.000')
    """
    if math.isnan(value):
        return NO_VALUE
    return f"{100 * value:z.2f}" if is_share(measure) else f"{value:z#.4g}".removesuffix(".")


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
    shown = number(value, measure)
    return say("{number} points", number=shown) if is_share(measure) else shown


def signed(value: float, measure: str = "") -> str:
    """Show a difference with its sign, without a unit.

    Example:
        >>> signed(0.0123, "accuracy"), signed(-0.5), signed(-0.0, "accuracy")
        ('+1.23', '-0.5000', '0.00')
    """
    shown = number(value, measure)
    return f"+{shown}" if value > 0 and shown.strip("0.") else shown


def signed_difference(value: float, measure: str) -> str:
    """Show a difference with its sign and unit.

    Example:
        >>> signed_difference(0.0123, "accuracy")
        '+1.23 points'
    """
    shown = signed(value, measure)
    return say("{number} points", number=shown) if is_share(measure) else shown


def interval(low: float, high: float, measure: str) -> str:
    """Show an interval, or that there is none.

    Example:
        >>> interval(0.97, 0.985, "accuracy")
        '97.00 to 98.50'
    """
    if math.isnan(low):
        return NO_VALUE
    return say("{low} to {high}", low=number(low, measure), high=number(high, measure))


def count(value: float) -> str:
    """Show a count with thousands apart; several, as `low to high`, when they differ."""
    return NO_VALUE if math.isnan(value) else f"{value:,.0f}"


def count_of(value: int, one: str, several: str = "") -> str:
    """Show how many of something there are.

    Example:
        >>> count_of(1, "seed"), count_of(1200, "cell"), count_of(2, "category", "categories")
        ('1 seed', '1,200 cells', '2 categories')
    """
    return _counted(f"{value:,}", value, one, several)


def count_range(low: float, high: float) -> str:
    """Show the range of a count.

    Example:
        >>> count_range(5, 5), count_range(5, 1200)
        ('5', '5 to 1,200')
    """
    if low == high or math.isnan(low):
        return count(low)
    return say("{low} to {high}", low=count(low), high=count(high))


def range_of(low: int, high: int, one: str, several: str = "") -> str:
    """Show how many of something there are at least and at most.

    Example:
        >>> range_of(1, 1, "seed"), range_of(2, 5, "seed")
        ('1 seed', '2 to 5 seeds')
    """
    return _counted(count_range(low, high), high, one, several)


def _counted(shown: str, value: int, one: str, several: str) -> str:
    texts = f"{{count}} {one}", f"{{count}} {several or one + 's'}"
    return ngettext(*texts, value).format(count=shown)


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
    return gettext(_MEASURES[measure]) if measure in _MEASURES else measure


def factor_name(factor: str) -> str:
    """Return a factor as people say it; of a pair, `a × b`, each; a name of one's own stays as it is.

    Example:
        >>> factor_name("activation"), factor_name("optimizer.lr"), factor_name("loss × schedule")
        ('activation', 'optimizer.lr', 'loss × schedule')
    """
    cross = " \N{MULTIPLICATION SIGN} "
    return cross.join(gettext(_FACTORS[each]) if each in _FACTORS else each for each in factor.split(cross))


def word(text: str) -> str:
    """Return a word of the frames, such as a status or a verdict, as the page says it."""
    return gettext(_WORDS[text]) if text in _WORDS else text


def split_name(split: str) -> str:
    """Return the name of a split above its curves."""
    return gettext(_PANELS[split])


def endpoint_name(endpoint: Endpoint) -> str:
    """Say what an endpoint is.

    Example:
        >>> endpoint_name(Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1))
        'test accuracy at the best validation epoch'
    """
    split, measure = endpoint.column.partition("_")[0], measure_name(endpoint.measure)
    known = gettext(_SPLITS[split]) if split in _SPLITS else split
    if endpoint.column.endswith("_at_best"):
        return say("{split} {measure} at the best validation epoch", split=known, measure=measure)
    return say("{split} {measure} at the last epoch", split=known, measure=measure)


def level_name(factor: str, label: str) -> str:
    """Name a level where its factor is not said beside it: a number or a mode is nothing by itself.

    Example:
        >>> level_name("batch_size", "32"), level_name("loss", "mse"), level_name("regularizer", "none")
        ('batch_size 32', 'mse', 'no regularizer')
    """
    if label == "none":
        return say("no {factor}", factor=factor_name(factor))
    return f"{factor_name(factor)} {label}" if factor in SETTINGS else label


def better(endpoint: Endpoint) -> str:
    """Say which way is better."""
    return gettext(_BETTER[endpoint.direction])


_BETTER = {"higher": N_("higher is better"), "lower": N_("lower is better")}


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
