"""Runs a suite: what the store lacks is trained in packs and written as soon as each pack is done."""

from __future__ import annotations

import numbers
import struct
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipebench.benchmarks import gpus
from recipebench.benchmarks import packs as packing
from recipebench.benchmarks.agenda import Agenda, agenda
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.devices import unavailable, why_not
from recipebench.benchmarks.environment import build, describe
from recipebench.benchmarks.executor import Event, Executor, LocalExecutor
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.records import not_trained
from recipebench.benchmarks.results import Results, collect
from recipebench.benchmarks.store import Store, is_time_column
from recipebench.benchmarks.suite import Suite
from recipebench.datamodules.fetch import ensure
from recipebench.errors import RequestError, unknown
from recipebench.processes import usable_cores

if TYPE_CHECKING:
    import pandas as pd

Watch = Callable[[Event], None]

EXECUTORS = ("local", "ray")
"""Where packs can be trained."""


@dataclass(frozen=True)
class Options:
    """How to run a suite; nothing here changes a result.

    Args:
        data_dir: where data are looked for first.
        workers: worker processes; None takes one a core.
        pack_size: cells in a pack at most; 1 trains every cell alone; None lets the network decide.
        mix: reuse records of another torch version or class of processor, and nodes of another one.
        skip_unavailable: leave devices and data that cannot be had out of the plan.
        executor: where packs are trained: one of `EXECUTORS`.
        address: of the Ray cluster to join; None starts one on this machine.
        gpus_per_pack: the part of a GPU that a pack takes, so that several share one.
        rows: whether those who watch are given the rows of the histories as they come.
    """

    data_dir: Path | None = None
    workers: int | None = None
    pack_size: int | None = None
    mix: bool = False
    skip_unavailable: bool = False
    executor: str = "local"
    address: str | None = None
    gpus_per_pack: float = 1.0
    rows: bool = False

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            raise RequestError(unknown("executor", self.executor, EXECUTORS))
        if self.address is not None and self.executor != "ray":
            raise RequestError("--address: only the executor ray has one; give --executor ray.")
        if not 0 < self.gpus_per_pack <= 1:
            raise RequestError(
                f"--gpus-per-pack: expected a number above 0 and up to 1, got {self.gpus_per_pack}."
            )
        for name in ("workers", "pack_size"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise RequestError(f"{name}: expected a whole number of at least 1, got {value!r:.80}.")

    @property
    def here(self) -> bool:
        """Whether packs are trained on this machine, on the devices that it has."""
        return self.executor == "local"

    @property
    def processes(self) -> int:
        """Worker processes: as asked for, or one a core that this process may use."""
        return self.workers or usable_cores()


@dataclass(frozen=True)
class Selection:
    """What a run is about; the data are here.

    Args:
        suite: the validated suite.
        agenda: everything that is planned.
        left_out: data sets and devices that `skip_unavailable` took out of the plan, with the reason.
    """

    suite: Suite
    agenda: Agenda
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every planned cell that is known."""
        return self.agenda.cells


@dataclass(frozen=True)
class Plan(Selection):
    """What a run will do.

    Args:
        suite: the validated suite.
        agenda: everything that is planned.
        left_out: data sets and devices that `skip_unavailable` took out of the plan, with the reason.
        cached: ids of cells that the store has already.
        packs: what is to be trained now; what waits for a choice follows.
    """

    cached: frozenset[str] = frozenset()
    packs: tuple[Pack, ...] = ()


def select(suite: Suite, store: Store, options: Options, *, fetch: bool = True) -> Selection:
    """Expand a suite and have the data of what is to be trained on disk; writes nothing to the store.

    Args:
        suite: the validated suite.
        store: what is done already, and needs neither data nor device.
        options: how to run.
        fetch: verify the data, and download what is missing; otherwise they are not looked at.

    Raises:
        RequestError: data cannot be had, or nothing is left.
    """
    plan, cached = agenda(suite, store), store.cached()
    todo = [cell for cell in plan.cells if cell.id not in cached]
    reasons = {cell.id: why_not(cell, here=options.here) for cell in todo}
    obstacles = {_obstacle_of(c, options): why for c in todo if (why := reasons[c.id])}
    left_out = obstacles if options.skip_unavailable else {}
    if fetch:
        left_out |= _fetch([cell for cell in todo if reasons[cell.id] is None], options)
    kept = _without(plan, left_out, cached)
    if not kept.planned:
        raise RequestError(f"Nothing is left to train: {' '.join(left_out.values())}")
    return Selection(suite, kept, left_out)


def _without(plan: Agenda, left_out: Mapping[str, str], cached: Mapping[str, str]) -> Agenda:
    """Return what is planned without the cells that need what cannot be had and are not done already."""
    kept = tuple(row for row in plan.planned if row.id in cached or not _needs(row.cell) & set(left_out))
    return replace(plan, planned=kept)


def _needs(cell: Cell) -> set[str]:
    """Return the names of the data sets, the device, and the model on this device that a cell needs."""
    return {*(choice.name for choice in cell.sources), cell.device, _pair(cell)}


def _obstacle_of(cell: Cell, options: Options) -> str:
    """Name what keeps a cell from being trained: its device, or its model on this device."""
    return cell.device if options.here and unavailable(cell.device) else _pair(cell)


def _pair(cell: Cell) -> str:
    return f"{cell.model.name} on {cell.device}"


def _fetch(cells: Sequence[Cell], options: Options) -> dict[str, str]:
    """Have all data on disk; return, by name, why data that may be skipped cannot be had."""
    left_out = {}
    for choice in {choice.name: choice for cell in cells for choice in cell.sources}.values():
        try:
            ensure(choice, options.data_dir)
        except RequestError as error:
            if not options.skip_unavailable:
                raise
            left_out[choice.name] = str(error)
    return left_out


def make_plan(selection: Selection, store: Store, options: Options, *, ask_why_alone: bool = False) -> Plan:
    """Group what the store lacks into packs.

    Args:
        selection: from `select`.
        store: what is done already.
        options: how to run.
        ask_why_alone: find out now which cells cannot be packed, which loads torch; otherwise the
            workers find out.

    Raises:
        RequestError: the store's records are of another build.
    """
    cached = store.cached()
    done = frozenset(cell.id for cell in selection.cells if cell.id in cached)
    if not options.mix:
        _refuse_other_builds(store, done)
    todo = [cell for cell in selection.cells if cell.id not in done]
    packs = _packed(todo, options, ask_why_alone=ask_why_alone)
    return Plan(selection.suite, selection.agenda, selection.left_out, done, packs)


def packs_to_come(plan: Plan, options: Options) -> tuple[Pack, ...]:
    """Return packs of stand-ins for the cells that wait for a choice, to estimate their time."""
    return _packed([row.cell for row in plan.agenda.planned if row.open is not None], options)


def _packed(cells: Sequence[Cell], options: Options, *, ask_why_alone: bool = False) -> tuple[Pack, ...]:
    """Group the cells that can be trained here into packs."""
    todo = [cell for cell in cells if why_not(cell, here=options.here) is None]
    obstacles = _obstacles(todo) if ask_why_alone else {}
    places, memory = _places(todo, options)
    return tuple(packing.plan(todo, options.pack_size, workers=places, obstacles=obstacles, memory=memory))


def _places(cells: Sequence[Cell], options: Options) -> tuple[int, float | None]:
    """Return how many workers will share the packs, and the memory of each where all train on GPUs here."""
    group = {gpus.needed(cell.device) for cell in cells}
    if not options.here or not group or 0 in group:
        return options.processes, None
    shares = gpus.shares(gpus.visible(), max(group), options.gpus_per_pack)
    workers = options.workers or len(shares) or options.processes
    groups = max(1, len(gpus.visible()) // max(group))
    free = gpus.free_memory()
    return workers, free and free / -(-workers // groups)  # as many workers as that share a GPU


def _obstacles(cells: Sequence[Cell]) -> dict[str, str]:
    from recipebench.benchmarks.training import why_alone

    kinds = {packing.signature(cell): cell for cell in cells}
    return {name: reason for name, cell in kinds.items() if (reason := why_alone(cell))}


def executor_for(packs: Sequence[Pack], options: Options, more_to_come: bool) -> Executor:
    """Start what trains packs, as the options say.

    Args:
        packs: what is to be trained first.
        options: how to run.
        more_to_come: whether there may be more packs later.

    Raises:
        RequestError: Ray is not installed, or its cluster cannot be joined.
    """
    if options.executor == "ray":
        return _ray_executor(options)
    group = max(gpus.needed(cell.device) for pack in packs for cell in pack.cells)
    shares = gpus.shares(gpus.visible(), group, options.gpus_per_pack) if group else ()
    processes = options.workers or len(shares) or options.processes
    processes = processes if more_to_come else min(processes, len(packs))
    return LocalExecutor(processes, options.data_dir, shares, rows=options.rows)


def _ray_executor(options: Options) -> Executor:
    try:
        from recipebench.benchmarks.executor_ray import RayExecutor
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise RequestError("--executor ray needs Ray: pip install 'recipebench[ray]'.") from error
    return RayExecutor(
        options.workers,
        options.data_dir,
        address=options.address,
        gpus_per_pack=options.gpus_per_pack,
        mix=options.mix,
        rows=options.rows,
    )


def run(
    plan: Plan,
    store: Store,
    options: Options,
    watch: Watch = lambda event: None,
    start: Callable[[Sequence[Pack], Options, bool], Executor] = executor_for,
) -> Results:
    """Train what a plan lists, write each pack to the store when it is done, and collect the records.

    Where hyper-parameters are tuned, this goes on in stages: the choice of a search whose trials are all
    done is written to the store before the cells that use it are trained.

    The caller holds the store's lock. Interrupting loses only the packs that are being trained.

    Args:
        plan: from `make_plan`, on the same store.
        store: where records go.
        options: how to run.
        watch: told of every event, for progress.
        start: starts what trains.
    """
    settled = _settled(plan.suite, plan.agenda, store, plan.left_out)
    packs = plan.packs if settled is plan.agenda else _packed(_new(settled, store, set()), options)
    if packs:
        environment = store.begin_run(describe(workers=options.processes, threads=1))
        tried: set[str] = set()
        with start(packs, options, bool(settled.courses)) as executor:
            while packs:
                for event in executor.run(packs):
                    _keep(event, store, environment)
                    watch(event)
                tried.update(cell.id for pack in packs for cell in pack.cells)
                if settled.courses:
                    now = _without(agenda(plan.suite, store), plan.left_out, store.cached())
                    settled = _settled(plan.suite, now, store, plan.left_out)
                packs = _packed(_new(settled, store, tried), options) if settled.courses else ()
    return collect(plan.suite, store, settled)


def _settled(suite: Suite, plan: Agenda, store: Store, left_out: Mapping[str, str]) -> Agenda:
    """Write down the choice of every search that is complete; return what is planned then."""
    ready = [c for c in plan.courses if c.complete and c.search.id not in plan.chosen]
    for course in ready:
        store.keep_choice(course.search.id, course.choice())
    return _without(agenda(suite, store), left_out, store.cached()) if ready else plan


def _new(plan: Agenda, store: Store, tried: Container[str]) -> list[Cell]:
    """Return the cells that the store lacks and that this run has not tried."""
    cached = store.cached()
    return [cell for cell in plan.cells if cell.id not in cached and cell.id not in tried]


def _keep(event: Event, store: Store, environment: str) -> None:
    if event.kind == "done":
        store.write(event.records, event.history, environment)
    elif event.kind == "failed":
        (cell,) = event.pack.cells
        rows = [not_trained(cell, "failed", event.reason, build(), event.traceback)]
        store.write(rows, [], environment)


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

    Raises:
        RequestError: data cannot be had.
    """
    _fetch(cells, options)
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
    cell_id = event.pack.cells[0].id
    pairs = [
        ("", store.records([cell_id]), event.records),
        ("history.", store.history([cell_id]), event.history),
    ]
    return [
        prefix + name
        for prefix, kept, new in pairs
        for name in dict.fromkeys([*kept, *new[0]])
        if not is_time_column(name) and _column(kept, name) != [_bits(row.get(name)) for row in new]
    ]


def _column(kept: pd.DataFrame, name: str) -> list[Any]:
    if name not in kept:
        return [None] * len(kept)
    column = kept[name].astype(object)
    return [_bits(value) for value in column.where(kept[name].notna(), None)]


def _bits(value: Any) -> Any:
    """Return what is equal for equal bits; in masked columns null is apart from NaN."""
    return struct.pack("<d", value) if isinstance(value, numbers.Real) else value
