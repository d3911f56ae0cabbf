"""Writes a suite's report from a store; needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recipebench import reports
from recipebench.benchmarks.agenda import Agenda
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.combinations import RECIPE, WITHOUT_SAMPLES
from recipebench.benchmarks.endpoints import endpoint_of
from recipebench.benchmarks.own_packing import packing_of
from recipebench.benchmarks.results import Results, records_of
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.store_files import disk_errors
from recipebench.benchmarks.suite import Suite
from recipebench.benchmarks.suite_checks import SHARE
from recipebench.datamodules.catalog import facts_of, split_sizes
from recipebench.levels import Choice, Tuned
from recipebench.lightning_modules.catalog import OPTIMIZERS
from recipebench.reports import SuiteInfo
from recipebench.reports.language import gettext, parts, say, shipped, writing
from recipebench.reports.own_levels import sentences
from recipebench.reports.speed import FOLDER, newest
from recipebench.reports.suite_info import Endpoint, Range, Space, Targets, Tuning


def write_report(
    suite: Suite,
    plan: Agenda,
    results: Results,
    store: Store,
    out: Path,
    command: str,
    speed: Path | None = None,
    language: str = "en",
) -> Path:
    """Write page, summary, tables, figures and frames of a suite; return the path of the page.

    Args:
        suite: the suite.
        plan: what of it is planned.
        results: the records and histories.
        store: where the environments of their runs are found.
        out: the folder to write to.
        command: what a person types to repeat the run.
        speed: a saved run of the speed suite; None takes the newest that the store has.
        language: of the report.

    Raises:
        RequestError: the language is not known.
        StoreError: the disk is full or broken, or the folder cannot be written.
    """
    done = results.records.loc[results.records["torch"].notna(), "cell_id"]
    with writing(language):
        info = describe(suite, plan, command)
        info = replace(info, own_levels=tuple(sentences(results.records, packing_of(plan.cells))))
    environments, saved = store.environments(done), speed or newest(store.path / FOLDER)
    with disk_errors(f"write the report to {out}"):
        return reports.refresh(results.records, results.history, info, out, environments, saved, language)


def outlook(suite: Suite, plan: Agenda, store: Store) -> list[str]:
    """Return the power of a suite's registered claims, in lines; none where it registers none.

    Args:
        suite: the suite.
        plan: what of it is planned.
        store: whose blocks, as far as there are any, tell the spread.
    """
    if not suite.claims:
        return []
    from recipebench.reports import frames, planning

    records, info = records_of(suite, store, plan), describe(suite, plan, "")
    cells = frames.cells(records, info)
    return planning.sentences(planning.outlook(cells, info, frames.levels_of(records, cells, info)))


def describe(suite: Suite, plan: Agenda, command: str) -> SuiteInfo:
    """Return what the report tells of a suite."""
    cells, levels = [row.cell for row in plan.planned], suite.levels()
    names = list(dict.fromkeys(cell.data.name for cell in cells))
    return SuiteInfo(
        name=suite.name,
        description=shipped(suite.description),
        endpoints={name: endpoint_of(suite.endpoint_for(name), name) for name in names},
        factors={factor: known for factor, known in levels.items() if factor != "data"},
        seeds=tuple(dict.fromkeys(row.cell.seed for row in plan.planned if row.role == "report")),
        planned=len(cells),
        rates_default=all(_has_default_rate(choice) for choice in levels["optimizer"]),
        protocol=parts(_protocol(cells, name) for name in names),
        smallest_effect=dict(suite.smallest_effect),
        reference=dict(suite.reference),
        items=_items(cells),
        claims=suite.registered(),
        data={name: _facts(name, cells) for name in names},
        command=command,
        tuning=_tuning(suite, plan, names),
        targets=_targets(suite, names),
    )


def _items(cells: Sequence[Cell]) -> dict[str, int]:
    """Return the number of test samples of each data set that has samples; of variants, the fewest."""
    found: dict[str, int] = {}
    for name, choice in {(c.data.name, repr(c.data)): c.data for c in cells}.items():
        if facts_of(choice).task not in WITHOUT_SAMPLES:
            test = split_sizes(choice).test
            found[name[0]] = min(test, found.get(name[0], test))
    return found


def _tuning(suite: Suite, plan: Agenda, names: Sequence[str]) -> Tuning | None:
    """Return how the searches of a suite go; None where it has none."""
    if not plan.courses:
        return None
    combinations = [course.search.combination for course in plan.courses]
    trials, method, rounds = next(iter(combinations[0].ranges.values())).effort
    tuned = [(f, level) for c in combinations for f in RECIPE if isinstance(level := c.level(f), Tuned)]
    spaces = {(f, level.name, level.tuned): _space(f, level) for f, level in tuned}
    return Tuning(
        trials=trials,
        seeds=suite.tuning.seeds,
        method=method,
        rounds=rounds,
        criterion=_criteria(suite, names),
        spaces=tuple(spaces.values()),
    )


def _space(factor: str, level: Tuned) -> Space:
    ranges = {
        name: Range(low=tune.axis.low, high=tune.axis.high, scale=tune.axis.scale)
        for name, tune in level.ranges.items()
    }
    return Space(factor=factor, level=level.name, tuned=level.tuned, ranges=ranges)


def _targets(suite: Suite, names: Sequence[str]) -> Targets | None:
    """Return what is to be reached; None where the suite declares nothing."""
    if not suite.time_to_target:
        return None
    values = {name: value for name, value in suite.time_to_target.items() if name in names}
    return Targets(values=values, share=suite.time_to_target.get(SHARE), criterion=_criteria(suite, names))


def _criteria(suite: Suite, names: Sequence[str]) -> dict[str, Endpoint]:
    return {name: endpoint_of(suite.criterion_for(name), name) for name in names}


def _has_default_rate(optimizer: Choice) -> bool:
    default = OPTIMIZERS.choose(optimizer.name).parameters
    return isinstance(optimizer, Tuned) or optimizer.parameters.get("lr") == default.get("lr")


def _protocol(cells: Sequence[Cell], data: str) -> str:
    mine = [cell for cell in cells if cell.data.name == data]
    return say(
        "{data}: {epochs} epochs, batches of {batch_size}, validation {validation}, {inputs} inputs",
        data=data,
        **{name: _values(mine, name) for name in ("epochs", "batch_size", "validation", "inputs")},
    )


def _values(cells: Sequence[Cell], name: str) -> str:
    return " / ".join(str(value) for value in dict.fromkeys(getattr(cell, name) for cell in cells))


def _facts(data: str, cells: Sequence[Cell]) -> dict[str, object]:
    facts = facts_of(data)
    hashes = sorted({cell.data_sha256 for cell in cells if cell.data.name == data})
    return {
        gettext("source"): facts.source,
        gettext("citation"): facts.citation,
        gettext("license"): facts.license,
        gettext("samples"): facts.train + facts.test,
        "SHA-256": ", ".join(hashes),
    }
