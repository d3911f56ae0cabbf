"""Two result sets, cell by cell: what is equal, what differs by less than matters, and what has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from recipebench.errors import RequestError
from recipebench.reports import export, telling, wording
from recipebench.reports.cellwise import (
    BUILD,
    CHANGED,
    COUNTED,
    ENDED,
    EQUAL,
    FAILED,
    ONLY_FIRST,
    ONLY_SECOND,
    OUTCOMES,
    WITHIN,
    ResultSet,
    blocks,
    builds,
    in_both,
    paired,
)
from recipebench.reports.claims import Claim, Verdict, judge
from recipebench.reports.statistics import families, inference
from recipebench.reports.suite_info import Endpoint

SMALLEST = dict.fromkeys(("accuracy", "average_precision", "mse", "r2"), 0.005)
"""The smallest difference that matters where no suite declares one: half a point of a share, and 0.005 of
the variance of standardized targets; other measures have none."""

MOST_NAMED = 10
"""Cells that are named one by one at most."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What changed between two result sets, A and B.

    Args:
        first: the name of A.
        second: the name of B.
        scope: which cells were compared, in words.
        cells: one row a cell of either: `cell_id, data, seed`, its levels, `first_status,
            second_status, outcome, columns` (those that differ), the scores `first` and `second`, chance
            level where it diverged, `difference` (second - first) and the `device`.
        table: one row a data set (factor `all`) and one a level of each factor that varies there; see
            `table`.
        verdicts: by data set, of the claim that the mean differs by less than the smallest effect.
        builds: `side, torch, cpu, cells` of the cells that are done.
        endpoints: how each data set is scored.
        smallest: the smallest effect of each data set that has one.
        declared: the data sets whose smallest effect comes from a suite.
    """

    first: str
    second: str
    scope: str
    cells: pd.DataFrame
    table: pd.DataFrame
    verdicts: Mapping[str, Verdict]
    builds: pd.DataFrame
    endpoints: Mapping[str, Endpoint]
    smallest: Mapping[str, float]
    declared: frozenset[str]

    @property
    def counts(self) -> dict[str, int]:
        """Number of cells by outcome, all of `OUTCOMES`."""
        found = self.cells["outcome"].value_counts()
        return {outcome: int(found.get(outcome, 0)) for outcome in OUTCOMES}

    @property
    def changed(self) -> bool:
        """Whether a cell changed by more than matters, or ended otherwise."""
        return bool(self.counts[CHANGED] or self.counts[ENDED])

    @cached_property
    def sentences(self) -> list[str]:
        """What was compared, what came out, and what to make of it."""
        return [
            *_what_was_compared(self),
            *_outcomes(self),
            *_what_to_make_of_it(self),
            *_means(self),
            *_named(self),
        ]

    @cached_property
    def shown(self) -> pd.DataFrame:
        """The table as it is printed, without levels of which all cells are equal."""
        return _shown(self)

    def __str__(self) -> str:
        return f"{telling.as_text(self.sentences, [self.shown])}\n\n{CAPTION}"

    def _repr_html_(self) -> str:
        return telling.as_html([*self.sentences, CAPTION], [self.shown])


CAPTION = (
    "Differences are B \N{MINUS SIGN} A, positive where B is better; a block is a data set and a seed. "
    f"{inference.METHOD}. Rows `all`: adjusted to the number of data sets ({families.REGISTERED}). "
    f"Rows of levels: 95\N{NO-BREAK SPACE}% each, p of no difference ({families.EXPLORATORY})."
)
"""What stands below the table."""


def compare(
    first: ResultSet,
    second: ResultSet,
    *,
    endpoints: Mapping[str, Endpoint],
    smallest: Mapping[str, float] | None = None,
    ignored: Iterable[str] = (),
    factors: Sequence[str] = (),
    scope: str = "all cells",
) -> Comparison:
    """Compare two result sets, paired by cell.

    Args:
        first: A.
        second: B.
        endpoints: for each data set of either.
        smallest: the smallest effects that a suite declares, by data set; `SMALLEST` for the others.
        ignored: columns that are no results: times, builds, texts about the run.
        factors: columns whose levels get rows of their own.
        scope: which cells these are, in words.

    Raises:
        RequestError: no cell has a record in both.
    """
    effects = {**_defaults(endpoints), **(smallest or {})}
    cells = paired(first, second, endpoints=endpoints, smallest=effects, ignored=ignored, factors=factors)
    if not cells["outcome"].isin([*COUNTED, FAILED]).any():
        raise RequestError(
            f"Expected cells that both stores have, found none: {first.name} has "
            f"{wording.count_of(len(first.records), 'cell')}, {second.name} has "
            f"{wording.count_of(len(second.records), 'cell')} ({scope})."
        )
    verdicts = _judged(cells, endpoints, effects)
    return Comparison(
        first=first.name,
        second=second.name,
        scope=scope,
        cells=cells,
        table=table(cells, endpoints, verdicts, factors),
        verdicts=verdicts,
        builds=builds(first.records, second.records),
        endpoints=endpoints,
        smallest=effects,
        declared=frozenset(smallest or {}),
    )


def _defaults(endpoints: Mapping[str, Endpoint]) -> dict[str, float]:
    return {name: SMALLEST[e.measure] for name, e in endpoints.items() if e.measure in SMALLEST}


def _judged(
    cells: pd.DataFrame, endpoints: Mapping[str, Endpoint], smallest: Mapping[str, float]
) -> dict[str, Verdict]:
    """Judge for each data set that the mean differs by less than matters, all as one family."""
    groups = {str(name): rows for name, rows in in_both(cells).groupby("data", sort=True)}
    claims = {
        name: Claim(
            name=f"{name}: no difference that matters",
            blocks=blocks(rows, endpoints[name]),
            smallest=smallest[name],
            kind="equivalent",
        )
        for name, rows in groups.items()
        if smallest.get(name, 0.0) > 0
    }
    return dict(zip(claims, judge(list(claims.values())), strict=True))


def table(
    cells: pd.DataFrame,
    endpoints: Mapping[str, Endpoint],
    verdicts: Mapping[str, Verdict],
    factors: Sequence[str],
) -> pd.DataFrame:
    """Count outcomes and average differences by data set and by level.

    Returns:
        Columns `data, factor, level, n` (cells with a record in both), `equal, within, changed, ended
        otherwise, mean, low, high, blocks, p, verdict`. Rows of the factor `all` have the interval and the
        word of their verdict; rows of levels a 95 % interval and Benjamini and Hochberg's p of no
        difference, over all such rows.
    """
    rows: list[dict[str, Any]] = []
    for name, here in in_both(cells).groupby("data", sort=True):
        endpoint, data = endpoints[str(name)], str(name)
        rows.append(_row(here, endpoint, data, "all", "all", verdicts.get(data)))
        for factor in factors:
            levels = [(str(level), part) for level, part in here.groupby(factor, sort=True)]
            if len(levels) > 1:
                rows += [_row(part, endpoint, data, factor, level) for level, part in levels]
    found = pd.DataFrame(rows)
    of_levels = found["factor"] != "all"
    found.loc[of_levels, "p"] = families.benjamini_hochberg(found.loc[of_levels, "p"].to_numpy())
    return found


def _row(
    rows: pd.DataFrame, endpoint: Endpoint, data: str, factor: str, level: str, verdict: Verdict | None = None
) -> dict[str, Any]:
    counts = rows["outcome"].value_counts()
    differences = blocks(rows, endpoint).differences
    estimate = inference.over_seeds(differences)
    low, high = inference.interval(estimate)
    p = inference.p_values(estimate)
    return {
        **{"data": data, "factor": factor, "level": level, "n": len(rows)},
        **{outcome: int(counts.get(outcome, 0)) for outcome in COUNTED},
        "mean": float(estimate.mean),
        "low": verdict.low if verdict else float(low),
        "high": verdict.high if verdict else float(high),
        "blocks": int((~np.isnan(differences)).sum()),
        "p": verdict.p_holm if verdict else float(p),
        "verdict": verdict.word if verdict else "",
    }


def _what_was_compared(found: Comparison) -> list[str]:
    counts = found.counts
    both = sum(counts.values()) - counts[ONLY_FIRST] - counts[ONLY_SECOND]
    said = [
        f"A is {found.first}, B is {found.second}; compared: {found.scope}.",
        f"{wording.count_of(both, 'cell')} in both; {wording.count(counts[ONLY_FIRST])} only in A, "
        f"{wording.count(counts[ONLY_SECOND])} only in B.",
    ]
    for side, rows in found.builds.groupby("side"):
        built = [
            f"torch {row['torch']} on {row['cpu']} ({wording.count_of(row['cells'], 'cell')})"
            for row in rows.to_dict("records")
        ]
        said.append(f"{side} was trained by {', '.join(built)}.")
    return [*said, _limits(found)]


def _limits(found: Comparison) -> str:
    """Say the smallest effects, and which of them no suite declares."""
    parts = []
    for name in sorted({str(name) for name in in_both(found.cells)["data"]}):
        measure = found.endpoints[name].measure
        if name in found.smallest:
            size = wording.difference(found.smallest[name], measure)
            whose = "declared by the suite" if name in found.declared else "the default"
            parts.append(f"{size} of {wording.endpoint_name(found.endpoints[name])} on {name} ({whose})")
        else:
            parts.append(
                f"none on {name}, where no suite declares one, so that any difference of "
                f"{wording.endpoint_name(found.endpoints[name])} is a change"
            )
    return f"The smallest effect that matters: {'; '.join(parts)}."


def _outcomes(found: Comparison) -> list[str]:
    counts = found.counts
    done = sum(counts[name] for name in COUNTED)
    parts = [
        f"{wording.count(counts[EQUAL])} equal bit for bit (all columns but times and build)",
        f"{wording.count(counts[WITHIN])} within the smallest effect",
        f"{wording.count(counts[CHANGED])} beyond it",
        f"{wording.count(counts[ENDED])} ended otherwise",
    ]
    failed = f" {wording.count_of(counts[FAILED], 'cell')} failed in both." if counts[FAILED] else ""
    return [f"Of {wording.count_of(done, 'cell')}: {', '.join(parts)}.{failed}"]


def _what_to_make_of_it(found: Comparison) -> list[str]:
    counts = found.counts
    if not any(counts[name] for name in COUNTED):
        return ["No cell is done in both: nothing can be said of the results."]
    if not (counts[WITHIN] or counts[CHANGED] or counts[ENDED]):
        return ["The same bits: what was found in one store can be quoted for the other."]
    said = [_whence(found)]
    if counts[WITHIN] and not found.changed:
        size = _largest(found)
        said.append(
            f"No endpoint moved by more than matters{size}: what follows from effects of that size stands; "
            "single digits below it cannot be quoted for the other store."
        )
    if counts[CHANGED]:
        said.append(
            "Training enlarges differences of rounding, so that single runs can end far apart where the "
            "mean does not move; whether it did is said by data set below."
        )
    if counts[ENDED]:
        said.append(
            "Cells that ended otherwise are outcomes, not noise: a diverged one counts at chance level, a "
            "failed one is a gap, and gaps block the verdict."
        )
    return said


def _whence(found: Comparison) -> str:
    """Say where bits that differ can come from."""
    sides = [
        set(rows[[*BUILD]].itertuples(index=False, name=None)) for _, rows in found.builds.groupby("side")
    ]
    other = found.cells["outcome"].isin([WITHIN, CHANGED, ENDED])
    on_cpu = found.cells.loc[other, "device"].astype(str).str.startswith("cpu")
    if len(sides) < 2 or sides[0] != sides[1]:
        return "The builds differ, and bits are promised within one build only."
    if len(sides[0]) > 1:
        return "Both stores mix builds; bits are promised within one build only."
    if not on_cpu.any():
        return "The build is the same; on other devices than a CPU results repeat within a tolerance only."
    return (
        "The build is the same, which promises equal bits on a CPU, so something else differs: "
        "`recipebench verify` tells which of the two stores repeats here."
    )


def _largest(found: Comparison) -> str:
    within = found.cells[found.cells["outcome"] == WITHIN]
    parts = []
    for name, rows in within.groupby("data", sort=True):
        size = rows["difference"].abs().max()
        if size == size:
            parts.append(f"{wording.difference(size, found.endpoints[str(name)].measure)} on {name}")
    return f" (at most {', '.join(parts)})" if parts else ""


def _means(found: Comparison) -> list[str]:
    """Say the verdict of each data set where bits differ."""
    said = []
    other = found.cells[found.cells["outcome"].isin([WITHIN, CHANGED, ENDED, FAILED])]
    for name in sorted(set(found.verdicts) & set(other["data"])):
        verdict, measure = found.verdicts[name], found.endpoints[name].measure
        show = telling.in_unit(measure)
        claim = f"the mean over seeds and recipes differs by less than {show(found.smallest[name])}"
        why = telling.reasons(verdict, show)
        said.append(f"{name}: {verdict.word}: {claim}. {telling.numbers(verdict, show)} {why}".rstrip())
    return said


def _named(found: Comparison) -> list[str]:
    """Name the cells that changed, those that ended otherwise first, then the largest differences."""
    rows = found.cells[found.cells["outcome"].isin([CHANGED, ENDED])]
    rows = rows.assign(ended=rows["outcome"] == ENDED, size=rows["difference"].abs())
    rows = rows.sort_values(["ended", "size"], ascending=False, kind="stable")
    said = [_cell(row, found.endpoints[row["data"]]) for row in rows.head(MOST_NAMED).to_dict("records")]
    left = len(rows) - len(said)
    return said + (
        [f"And {wording.count_of(left, 'more cell')}; all are in `.cells` (cells.csv of --out)."]
        if left > 0
        else []
    )


def _cell(row: Mapping[Any, Any], endpoint: Endpoint) -> str:
    def end(side: str) -> str:
        if row[f"{side}_status"] != "ok":
            return str(row[f"{side}_status"])
        return wording.with_unit(row[side], endpoint.measure)

    return f"{row['cell_id']} ({row['data']}, seed {row['seed']}): {end('first')} in A, {end('second')} in B."


def _shown(found: Comparison) -> pd.DataFrame:
    told = found.table[(found.table["factor"] == "all") | (found.table["equal"] < found.table["n"])]
    rows = told.to_dict("records")
    measures = [found.endpoints[row["data"]].measure for row in rows]

    def difference(name: str) -> list[str]:
        return [
            wording.NO_VALUE if row[name] != row[name] else wording.difference(row[name], measure)
            for row, measure in zip(rows, measures, strict=True)
        ]

    plain = told[["data", "factor", "level", "n", *COUNTED]].copy()
    plain["mean difference"] = difference("mean")
    plain["low"], plain["high"] = difference("low"), difference("high")
    plain["blocks"] = told["blocks"]
    plain["p"] = telling.column(told["p"].tolist(), lambda p: f"{p:.3g}")
    plain["no difference that matters"] = told["verdict"]
    return plain


def files(found: Comparison) -> dict[str, bytes]:
    """Return the files of a comparison by name: a page, a summary, all cells and the table."""
    title = f"{found.first} and {found.second}"
    body = telling.as_html([*found.sentences, CAPTION], [found.shown])
    summary = telling.as_markdown(title, [*found.sentences, CAPTION], [found.shown])
    return {
        "compare.html": telling.page(title, body).encode("utf-8", "backslashreplace"),
        "compare.md": summary.encode("utf-8", "backslashreplace"),
        "cells.csv": export.csv(found.cells),
        "table.csv": export.csv(found.table),
    }
