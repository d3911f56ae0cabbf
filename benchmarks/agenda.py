"""Everything that a suite plans, given what a store holds: cells to report on, trials, and what is open."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from recipebench.benchmarks.cells import Cell, cells_of
from recipebench.benchmarks.combinations import CATALOGS, Combination
from recipebench.benchmarks.crossing import cross
from recipebench.benchmarks.endpoints import endpoint_of
from recipebench.benchmarks.suite import Suite
from recipebench.benchmarks.tuning import Course, Search
from recipebench.levels import Tuned

if TYPE_CHECKING:
    from recipebench.benchmarks.store import Store


@dataclass(frozen=True)
class Planned:
    """A row of a suite: a cell, and what it is there for.

    Args:
        cell: what is trained; where it is `open`, a stand-in that is right but for the tuned values.
        role: `report`, what is compared, or `trial`, what a search tries.
        course: of the search that it belongs to; None for a recipe without ranges.
        trial: the place of the trial in its search.
        open: why the tuned values are not known yet; None when they are.
    """

    cell: Cell
    role: Literal["report", "trial"] = "report"
    course: Course | None = None
    trial: int | None = None
    open: str | None = None

    @cached_property
    def id(self) -> str:
        """The id of the cell; of an open one, text that no cell has for an id."""
        if self.open is None or self.course is None:
            return self.cell.id
        place = [self.course.search.id, self.role, self.trial, self.cell.device, self.cell.seed]
        return "open-" + hashlib.sha256(repr(place).encode()).hexdigest()[:11]

    def columns(self, chosen: Mapping[str, int]) -> dict[str, Any]:
        """Return the columns that records of suites with ranges have beyond others.

        Args:
            chosen: the trial that each search has chosen, by id of the search.
        """
        search = self.course.search if self.course else None
        best = chosen.get(search.id) if search else None
        tuned = {f: search.combination.level(f) for f in CATALOGS} if search else {}
        return {
            "role": self.role,
            "search": search.id if search else None,
            "trial": self.trial,
            "chosen": None if self.trial is None or best is None else self.trial == best,
            **{f"{f}.tuned": level.tuned for f, level in tuned.items() if isinstance(level, Tuned)},
        }


@dataclass(frozen=True)
class Agenda:
    """What a suite plans.

    Args:
        planned: every row, in the order of the suite; the trials of a recipe before the recipe.
        courses: every search, as far as it is.
        chosen: the trial that each search has chosen, by id of the search, as the store keeps it.
    """

    planned: tuple[Planned, ...]
    courses: tuple[Course, ...] = ()
    chosen: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell that is known, once."""
        return tuple({row.cell.id: row.cell for row in self.planned if row.open is None}.values())

    @property
    def to_come(self) -> int:
        """How many rows wait for a choice before their cell is known."""
        return sum(row.open is not None for row in self.planned)


def agenda(suite: Suite, store: Store | None = None) -> Agenda:
    """Return what a suite plans.

    Args:
        suite: a validated suite.
        store: where trials have been trained and choices kept; without one, nothing has been.

    Raises:
        RequestError: the content of a data set is not known, or a choice in the store is damaged.
    """
    rows: list[Combination | Search] = [_searched(suite, c) if c.ranges else c for c in cross(suite)]
    courses = _follow([row for row in rows if isinstance(row, Search)], store)
    kept = {name: store.choice(name) for name in courses} if store else {}
    chosen = {name: choice["trial"] for name, choice in kept.items() if choice}
    planned: list[Planned] = []
    for row in rows:
        if isinstance(row, Search):
            values = (kept.get(row.id) or {}).get("chosen")
            planned += [*_trials(courses[row.id]), *_reported(suite, courses[row.id], values)]
        else:
            planned += [
                Planned(cell) for device in suite.device for cell in cells_of(row, device, suite.seeds)
            ]
    return Agenda(tuple(planned), tuple(courses.values()), chosen)


def _searched(suite: Suite, combination: Combination) -> Search:
    """Return the search of a recipe; its trials are trained on the first device of the suite."""
    name = combination.data.name
    criterion = endpoint_of(suite.criterion_for(name), name)
    return Search(combination, suite.device[0], suite.tuning.seeds, criterion)


def _follow(searches: Iterable[Search], store: Store | None) -> dict[str, Course]:
    """Follow searches as far as the store has the scores of their trials."""
    scores: dict[str, float] = {}
    courses = {search.id: search.follow(scores) for search in searches}
    asked: set[str] = set()
    while store:
        wanted = {c.id: course for course in courses.values() for t in course.trials for c in t.cells}
        new = {cell: course for cell, course in wanted.items() if cell not in asked}
        if not new:
            break
        asked.update(new)
        scores |= dict(_scores(store, new))
        courses = {name: course.search.follow(scores) for name, course in courses.items()}
    return courses


def _scores(store: Store, cells: Mapping[str, Course]) -> Iterator[tuple[str, float]]:
    """Yield the criterion of every cell that is done; chance level where it has diverged."""
    for row in store.records(cells).to_dict("records"):
        criterion = cells[str(row["cell_id"])].search.criterion
        if row["status"] == "diverged":
            yield str(row["cell_id"]), criterion.chance
        elif row["status"] == "ok":
            value = row[criterion.column]
            yield str(row["cell_id"]), criterion.chance if _is_absent(value) else float(value)


def _is_absent(value: Any) -> bool:
    return value is None or value != value or value in (float("inf"), float("-inf"))


def _trials(course: Course) -> Iterator[Planned]:
    """Yield the trials of a search; those of rounds that are not known yet are open."""
    for place, tried in enumerate(course.trials):
        for cell in tried.cells:
            yield Planned(cell, "trial", course, place)
    search = course.search
    for place in range(len(course.trials), search.trials):
        for stand_in in search.cells_with(_low(search), search.seeds, search.device):
            yield Planned(stand_in, "trial", course, place, "not known yet: the round before it is not done")


def _reported(suite: Suite, course: Course, values: Mapping[str, float] | None) -> Iterator[Planned]:
    search = course.search
    total = search.trials * len(search.seeds)
    done = sum(len(trial.cells) for trial in course.trials) - course.missing
    why = None if values else f"not tuned yet: {done} of {total} trials are done"
    for device in suite.device:
        for cell in search.cells_with(dict(values or _low(search)), suite.seeds, device):
            yield Planned(cell, "report", course, open=why)


def _low(search: Search) -> dict[str, float]:
    return {name: tune.axis.low for name, tune in search.combination.ranges.items()}
