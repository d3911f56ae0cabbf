"""How tables and charts name optimizers whose learning rates were not tuned: nothing ranks them.

`frames.rates` tells which were: all are `tuned`, all `untuned`, or it is `mixed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from recipebench.reports import frames
from recipebench.reports.language import N_, say
from recipebench.reports.suite_info import SuiteInfo
from recipebench.reports.wording import factor_name

if TYPE_CHECKING:
    from recipebench.reports.contents import Contents

OPTIMIZER = "optimizer"


def ranked(factor: str, contents: Contents) -> bool:
    """Return whether the levels of a factor may be ranked."""
    return factor != OPTIMIZER or contents.rates == "tuned"


def unranked(cells: pd.DataFrame, suite: SuiteInfo) -> dict[str, str]:
    """Return the factors that must not be ranked, and why."""
    known = frames.rates(cells, suite)
    return {OPTIMIZER: say(_REASONS[known], rates=suite.rates)} if known in _REASONS else {}


def heading(factor: str, contents: Contents) -> str:
    """Name a factor above its levels, which stand in declared order where they are not ranked."""
    name = factor_name(factor)
    return name if ranked(factor, contents) else _told(_HEADINGS, contents, factor=name)


def marked(term: str, contents: Contents) -> str:
    """Name a factor or a pair of factors, and mark what shows optimizers at rates that were not tuned."""
    name, single = factor_name(term), term.split(" × ")
    return name if all(ranked(f, contents) for f in single) else _told(_MARKS, contents, factor=name)


def in_place_of_best(contents: Contents) -> str:
    """Say in a few words why no optimizer is named as the best one."""
    return _told(_NO_BEST, contents)


def of_recipes(contents: Contents) -> str:
    """Say under a table of ranked recipes that it ranks no optimizers; nothing where all are tuned."""
    return _told(_RECIPES, contents)


def of_list(contents: Contents) -> str:
    """Say under a list of recipes that it ranks no optimizers; nothing where all are tuned."""
    return _told(_LISTS, contents)


def _told(words: Mapping[str, str], contents: Contents, **values: str) -> str:
    if contents.rates == "tuned":
        return ""
    return say(words[contents.rates], rates=contents.suite.rates, **values)


_REASONS = {
    "untuned": N_("all at {rates}"),
    "mixed": N_("some at {rates}"),
}
_HEADINGS = {
    "untuned": N_("{factor} (at {rates}, not a ranking)"),
    "mixed": N_("{factor} (not marked tuned: at {rates}, not a ranking)"),
}
_MARKS = {
    "untuned": N_("{factor} (at {rates})"),
    "mixed": N_("{factor} (not marked tuned: at {rates})"),
}
_NO_BEST = {
    "untuned": N_("at {rates}, not ranked"),
    "mixed": N_("not all tuned, not ranked"),
}
_RECIPES = {
    "untuned": N_("Recipes at these {rates}: not a ranking of optimizers."),
    "mixed": N_(
        "Optimizers not marked tuned are at {rates}: not a ranking of optimizers. Where one is tuned, its "
        "untuned form is no candidate."
    ),
}
_LISTS = {
    "untuned": N_("Optimizers at {rates}, not a ranking."),
    "mixed": N_("Optimizers not marked tuned at {rates}, not a ranking."),
}
