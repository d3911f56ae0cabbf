"""From records and history to the files of a report."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recipebench.reports import (
    comparison_views,
    export,
    fairness,
    figures,
    frames,
    page,
    registered,
    speed_views,
    stamp,
    tuning_views,
    verdict_views,
    verdict_words,
    views,
)
from recipebench.reports.charts import Slots
from recipebench.reports.contents import Contents, contents
from recipebench.reports.drawing import Drawing
from recipebench.reports.language import checked, gettext, say, writing
from recipebench.reports.speed import load, relative
from recipebench.reports.suite_info import SuiteInfo


def write(
    records: pd.DataFrame,
    history: pd.DataFrame,
    suite: SuiteInfo,
    out: Path,
    environments: list[dict[str, Any]],
    speed: Path | None = None,
    language: str = "en",
) -> Path:
    """Write the report; the same input gives the same bytes, whatever the order of its rows.

    Args:
        records: one row a cell; columns as a run writes them.
        history: one row a cell and epoch.
        suite: what was planned.
        out: the folder; made if need be.
        environments: one dictionary a run, as the store keeps them.
        speed: a saved run of the speed suite, which gets a section.
        language: of page, summary, tables and figures, of `language.LANGUAGES`; level names, columns and
            commands stay as they are.

    Returns:
        The path of `index.html`.

    Raises:
        RequestError: records, history and suite do not fit together, a search was not fair (see
            `fairness.check_fair`), or the language is not known; nothing is then written.
    """
    with writing(language):
        return _write(records, history, suite, out, environments, speed, language)


def _write(
    records: pd.DataFrame,
    history: pd.DataFrame,
    suite: SuiteInfo,
    out: Path,
    environments: list[dict[str, Any]],
    speed: Path | None,
    language: str,
) -> Path:
    if suite.tuning is not None and "role" in records:
        is_trial = records["role"] == "trial"
        fairness.check_fair(records[is_trial], records[~is_trial], suite.tuning)
    with Drawing(language, shown_names(records, suite)) as drawing:
        found = contents(records, history, suite, environments, load(speed) if speed else None)
        files = dict(_files(found, *_ordered(records, history, found), drawing))
    written = {}
    for name, content in files.items():
        replace(out / name, content)
        written[name] = hashlib.sha256(content).hexdigest()
    key = stamp.inputs(records, history, suite, environments, speed, language)
    replace(out / stamp.NAME, stamp.to_bytes(key, written))
    return out / "index.html"


def shown_names(records: pd.DataFrame, suite: SuiteInfo) -> str:
    """Return what figures show beside the sentences of the report: levels, data sets and claims."""
    columns = [name for name in records if str(name).partition(".")[0] in ("data", *frames.may_vary(suite))]
    texts = {text for name in columns for text in records[name].unique() if isinstance(text, str)}
    return "\n".join([*texts, *(claim.name for claim in suite.claims)])


def refresh(
    records: pd.DataFrame,
    history: pd.DataFrame,
    suite: SuiteInfo,
    out: Path,
    environments: list[dict[str, Any]],
    speed: Path | None = None,
    language: str = "en",
) -> Path:
    """Write the report unless a whole one that was made of the same stands there; see `write`."""
    if stamp.is_current(out, stamp.inputs(records, history, suite, environments, speed, checked(language))):
        return out / "index.html"
    return write(records, history, suite, out, environments, speed, language)


def replace(path: Path, content: bytes) -> None:
    """Write a file so that only the old or the whole new content is ever under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def summary(contents: Contents) -> str:
    """Return the report in brief, as Markdown."""
    suite = contents.suite
    text = export.markdown_text
    lines = [f"# {text(suite.name)}", ""]
    lines += [text(suite.description), ""] if suite.description else []
    lines += [f"- {text(sentence)}" for sentence in contents.headline.lines]
    lines += ["", *_verdict_summary(contents), f"## {gettext('Cells')}", ""]
    lines += [export.markdown(views.status(contents)), f"## {gettext('Level means')}", ""]
    lines += [export.markdown(views.factor_means(contents, label)) for label in contents.data]
    lines += [
        f"## {gettext('Best recipes')}",
        "",
        *(export.markdown(v(contents, label)) for label in contents.data for v in (views.within, views.best)),
    ]
    lines += _tuning_summary(contents) if contents.searches is not None else []
    if contents.reached is not None:
        found = export.markdown(tuning_views.time_to_target(contents))
        lines += [f"## {gettext('Time to target')}", "", found]
    lines += [f"## {gettext('Cost')}", "", export.markdown(views.cost(contents))]
    lines += [f"## {gettext('Protocol')}", "", text(suite.protocol)]
    lines += [part for sentence in suite.own_levels for part in ("", text(sentence))]
    lines += ["", say("Repeat it: {command}", command=text(suite.command))] if suite.command else []
    return "\n".join([*lines, ""])


def _verdict_summary(contents: Contents) -> list[str]:
    if not contents.verdicts:
        return []
    tables = (verdict_views.verdicts(contents), verdict_views.effects(contents))
    told = [f"- {export.markdown_text(sentence)}" for sentence in verdict_words.sentences(contents.verdicts)]
    return [f"## {gettext('Verdicts')}", "", *told, "", *map(export.markdown, tables)]


def _tuning_summary(contents: Contents) -> list[str]:
    tables = [tuning_views.against_default(contents, d) for d in tuning_views.compared_data(contents)]
    tables.append(tuning_views.cost(contents))
    told = [f"- {export.markdown_text(sentence)}" for sentence in tuning_views.sentences(contents)]
    return [f"## {gettext('Tuning')}", "", *told, "", *map(export.markdown, tables)]


def _files(
    contents: Contents, records: pd.DataFrame, history: pd.DataFrame, drawing: Drawing
) -> Iterator[tuple[str, bytes]]:
    """Make all files; the figures come last, as they are drawn meanwhile."""
    slots: Slots = {}
    for part in figures.parts(contents):
        slots |= part.slots
        for name, spec in part.files.items():
            drawing.draw(name, spec)
    yield "summary.md", _bytes(summary(contents))
    for view in _views(contents):
        yield f"tables/{view.name}.tex", _bytes(export.tex(view))
    for name, frame in _tables(contents).items():
        yield f"tables/{name}.csv", export.csv(frame)
    yield from _frames(records, history)
    yield "index.html", _bytes(page.render(contents, slots, drawing.script()))
    for name, figure in drawing.finish().items():
        yield f"figures/{name}", _bytes(figure)


def _frames(records: pd.DataFrame, history: pd.DataFrame) -> Iterator[tuple[str, bytes]]:
    yield "records.csv", export.csv(records)
    yield "records.parquet", export.parquet(records)
    yield "history.parquet", export.parquet(history)


def _views(contents: Contents) -> list[views.View]:
    each = [views.factor_means, views.within, views.best]
    shared = [views.status, views.reasons, views.outcomes, views.cost, views.machines]
    found = [v(contents) for v in shared] + [v(contents, label) for label in contents.data for v in each]
    if contents.verdicts:
        found += [verdict_views.verdicts(contents), verdict_views.effects(contents)]
    found += _comparison_views(contents)
    if contents.speed is not None:
        found += [view for _, view in speed_views.section(contents.speed).views]
    if contents.searches is not None:
        tuned = ("chosen", "sensitivity", "best_of_k", "ranks", "cost")
        found += [getattr(tuning_views, name)(contents) for name in tuned]
        found += [tuning_views.against_default(contents, d) for d in tuning_views.compared_data(contents)]
    return found + ([tuning_views.time_to_target(contents)] if contents.reached is not None else [])


def _comparison_views(contents: Contents) -> list[views.View]:
    found = [comparison_views.effects(contents, label) for label in contents.data]
    shared = ("ranks", "shares", "profiles")
    return [one for one in found + [getattr(comparison_views, n)(contents) for n in shared] if one.rows]


def _comparison_tables(contents: Contents) -> dict[str, pd.DataFrame]:
    found = contents.comparisons
    ranked = [
        pd.DataFrame(one._asdict() | {"groups": None, "data": ", ".join(one.data)})
        .rename(columns={"levels": "level", "ranks": "rank", "data": "data_sets"})
        .drop(columns=["groups", "reason"])
        for one in comparison_views.ranked(contents)
    ]
    areas = [
        pd.DataFrame(
            {"factor": p.factor, "level": p.levels, "area": p.areas, "problems": p.costs.shape[1]}
        ).assign(solved=np.isfinite(p.costs).sum(axis=1), last=p.last)
        for p in found.profiles
    ]
    frames = {"paired_effects": found.effects, "variance_shares": found.shares}
    frames |= {"mean_ranks": _together(ranked)} if ranked else {}
    frames |= {"performance_profiles": _together(areas)} if areas else {}
    return {name: frame for name, frame in frames.items() if len(frame)}


def _tables(contents: Contents) -> dict[str, pd.DataFrame]:
    names = (
        "counts",
        "reasons",
        "means",
        "best",
        "within",
        "recipes",
        "outcomes",
        "cost",
        "machines",
        "spreads",
    )
    found = {name: getattr(contents, name) for name in names}
    parts = [
        means.assign(factors=f"{a} \N{MULTIPLICATION SIGN} {b}") for (a, b), means in contents.pairs.items()
    ]
    curves = [c.assign(factor=f, measure=m, split=s) for (f, m, s), c in contents.curves.items()]
    found |= {"pairs": _together(parts)} if parts else {}
    found |= {"verdicts": registered.table(contents.verdicts)} if contents.verdicts else {}
    found |= _comparison_tables(contents)
    found |= {"speed": relative(contents.speed)} if contents.speed is not None else {}
    found |= {} if contents.reached is None else {"time_to_target": contents.reached}
    if contents.searches is not None:
        found |= {file: getattr(contents.searches, name) for name, file in _SEARCH_FILES.items()}
    return found | ({"curves": _together(curves)} if curves else {})


_SEARCH_FILES = {
    "against_default": "tuned_against_default",
    "chosen": "chosen_values",
    "sensitivity": "sensitivity",
    "best_of_k": "best_of_k",
    "ranks": "rank_by_budget",
    "cost": "tuning_cost",
}


def _together(parts: list[pd.DataFrame]) -> pd.DataFrame:
    names = {"data": object, "first": object, "second": object, "level": object}
    plain = [part.astype({c: t for c, t in names.items() if c in part}) for part in parts]
    return pd.concat(plain, ignore_index=True)


def _ordered(
    records: pd.DataFrame, history: pd.DataFrame, contents: Contents
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put records and history in the order of the cells, so that the store's order leaves no trace."""
    first = contents.everything["cell_id"].drop_duplicates()
    place = pd.Series(first.index, index=first)
    more = [name for name in ("role", "search") if name in records and contents.searches is not None]
    order = records[more].assign(cell=records["cell_id"].map(place)).reset_index(drop=True)
    by_cell = order.sort_values(["cell", *more], kind="stable").index
    if history.empty:
        return records.iloc[by_cell], history
    keys = pd.DataFrame(
        {"cell": history["cell_id"].map(place).to_numpy(), "epoch": history["epoch"].to_numpy()}
    )
    return records.iloc[by_cell], history.iloc[keys.sort_values(["cell", "epoch"], kind="stable").index]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
