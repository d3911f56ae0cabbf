"""Runs a suite: what the store lacks is trained in packs and written as soon as each pack is done."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipebench.benchmarks import packs as packing
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.devices import unavailable
from recipebench.benchmarks.environment import build, describe, usable_cores
from recipebench.benchmarks.executor import Event, LocalExecutor
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.records import not_trained
from recipebench.benchmarks.results import Results, collect
from recipebench.benchmarks.store import Store, is_time_column
from recipebench.benchmarks.suite import Suite
from recipebench.datamodules.fetch import ensure
from recipebench.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

Watch = Callable[[Event], None]


@dataclass(frozen=True)
class Options:
    """How to run a suite; nothing here changes a result.

    Args:
        data_dir: where data are looked for first.
        workers: worker processes; None takes one a core.
        pack_size: cells in a pack at most; 1 trains every cell alone; None lets the network decide.
        mix: reuse records of another torch version or class of processor.
        skip_unavailable: leave devices and data that cannot be had out of the plan.
    """

    data_dir: Path | None = None
    workers: int | None = None
    pack_size: int | None = None
    mix: bool = False
    skip_unavailable: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "pack_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise RequestError(f"{name}: expected a whole number of at least 1, got {value}.")

    @property
    def processes(self) -> int:
        """Worker processes: as asked for, or one a core that this process may use."""
        return self.workers or usable_cores()


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Args:
        suite: the validated suite.
        cells: every planned cell.
        cached: ids of cells that the store has already.
        packs: what is to be trained.
        left_out: what `skip_unavailable` took out of the plan, in words.
    """

    suite: Suite
    cells: tuple[Cell, ...]
    cached: frozenset[str]
    packs: tuple[Pack, ...]
    left_out: tuple[str, ...] = field(default=())


def make_plan(suite: Suite, store: Store, options: Options, *, ask_why_alone: bool = False) -> Plan:
    """Expand a suite, make sure that its data are here, and group what the store lacks into packs.

    Args:
        suite: the validated suite.
        store: what is done already.
        options: how to run.
        ask_why_alone: find out now which cells cannot be packed, which loads torch; otherwise the
            workers find out.

    Raises:
        RequestError: data cannot be had, or the store's records are of another build.
    """
    cells, left_out = _available(list(expand(suite)), options)
    cached = store.cached()
    done = frozenset(cell.id for cell in cells if cell.id in cached)
    if not options.mix:
        _refuse_other_builds(store, done)
    todo = [cell for cell in cells if cell.id not in done and unavailable(cell.device) is None]
    obstacles = _obstacles(todo) if ask_why_alone else {}
    return Plan(
        suite,
        tuple(cells),
        done,
        tuple(packing.plan(todo, options.pack_size, workers=options.processes, obstacles=obstacles)),
        tuple(left_out),
    )


def _obstacles(cells: Sequence[Cell]) -> dict[str, str]:
    from recipebench.benchmarks.training import why_alone

    kinds = {packing.signature(cell): cell for cell in cells}
    return {name: reason for name, cell in kinds.items() if (reason := why_alone(cell))}


def run(plan: Plan, store: Store, options: Options, watch: Watch = lambda event: None) -> Results:
    """Train what a plan lists, write each pack to the store when it is done, and collect the records.

    The caller holds the store's lock. Interrupting loses only the packs that are being trained.

    Args:
        plan: from `make_plan`, on the same store.
        store: where records go.
        options: how to run.
        watch: told of every event, for progress.
    """
    if plan.packs:
        environment = store.begin_run(describe(workers=options.processes, threads=1))
        with LocalExecutor(min(options.processes, len(plan.packs)), options.data_dir) as executor:
            for event in executor.run(plan.packs):
                _keep(event, store, environment)
                watch(event)
    return collect(plan.suite, store, plan.cells)


def _keep(event: Event, store: Store, environment: str) -> None:
    if event.kind == "done":
        store.write(event.records, event.history, environment)
    elif event.kind == "failed":
        rows = [not_trained(cell, "failed", event.reason, build()) for cell in event.pack.cells]
        store.write(rows, [], environment)


def _available(cells: Sequence[Cell], options: Options) -> tuple[list[Cell], list[str]]:
    """Fetch every data set; return the cells to plan, and what was left out because it cannot be had."""
    left_out: dict[str, str] = {}
    for cell in cells:
        if options.skip_unavailable and cell.device not in left_out and (reason := unavailable(cell.device)):
            left_out[cell.device] = reason
    for choice in {cell.data.name: cell.data for cell in cells if cell.device not in left_out}.values():
        try:
            ensure(choice, options.data_dir)
        except RequestError as error:
            if not options.skip_unavailable:
                raise
            left_out[choice.name] = str(error)
    kept = [cell for cell in cells if cell.data.name not in left_out and cell.device not in left_out]
    if not kept:
        raise RequestError(f"Nothing is left to train: {' '.join(left_out.values())}")
    return kept, list(left_out.values())


def _refuse_other_builds(store: Store, cells: frozenset[str]) -> None:
    here = tuple(build().values())
    others = sorted(store.builds(cells) - {here})
    if others:
        torch, cpu = others[0]
        raise RequestError(
            f"The store {store.path} has cells of this suite from torch {torch} on {cpu}; here is torch "
            f"{here[0]} on {here[1]}. Give --mix to use both side by side, or another --store."
        )


def differing(cells: Sequence[Cell], store: Store, options: Options) -> dict[str, list[str]]:
    """Train stored cells again, each alone, and return the columns in which any differs.

    Times are not compared; histories count as columns `history.<name>`.
    """
    found: dict[str, list[str]] = {}
    with LocalExecutor(min(options.processes, len(cells)), options.data_dir) as executor:
        for event in executor.run([Pack((cell,)) for cell in cells]):
            if event.kind == "done":
                columns = _differences(event, store)
            elif event.kind == "failed":
                columns = [f"everything: {event.reason}"]
            else:
                continue
            if columns:
                found[event.pack.cells[0].id] = columns
    return found


def _differences(event: Event, store: Store) -> list[str]:
    import pandas as pd

    cell_id = event.pack.cells[0].id
    pairs = [
        ("", store.records([cell_id]), pd.DataFrame(event.records)),
        ("history.", store.history([cell_id]), pd.DataFrame(event.history)),
    ]
    return [
        prefix + name
        for prefix, kept, new in pairs
        for name in new
        if not is_time_column(name) and not _same(kept.get(name), new[name])
    ]


def _same(kept: pd.Series[Any] | None, new: pd.Series[Any]) -> bool:
    if kept is None:
        return bool(new.isna().all())
    return [_bits(v) for v in kept] == [_bits(v) for v in new]


def _bits(value: Any) -> Any:
    import pandas as pd

    if pd.isna(value):
        return None
    return float(value).hex() if isinstance(value, numbers.Real) else value
