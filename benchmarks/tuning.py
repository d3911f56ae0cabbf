"""Searches: the trials of a recipe whose hyper-parameters are to be chosen, and the choice of validation."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from recipebench.benchmarks.cells import Cell, canonical_json, cells_of
from recipebench.benchmarks.combinations import Combination
from recipebench.benchmarks.ranges import METHODS
from recipebench.benchmarks.search import Round, Space, Trial, edges, next_round, ranked
from recipebench.reports.suite_info import Endpoint


@dataclass(frozen=True)
class Search:
    """A recipe on a data set of which some hyper-parameters are ranges.

    Args:
        combination: the recipe; its ranges have one effort.
        device: where its trials are trained.
        seeds: of its trials; no cell that is reported on has one of them.
        criterion: the validation score that chooses.
    """

    combination: Combination
    device: str
    seeds: tuple[int, ...]
    criterion: Endpoint

    @cached_property
    def id(self) -> str:
        """The first 16 hex digits of the SHA-256 of all that determines the trials and the choice."""
        return hashlib.sha256(canonical_json(self.to_json()).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return in plain JSON types what determines the search."""
        (cell,) = self._cells({name: tune.axis.low for name, tune in self._ranges.items()}, self.seeds[:1])
        recipe = cell.to_json()
        for name in self._ranges:
            factor, _, parameter = name.partition(".")
            recipe[factor]["parameters"].pop(parameter, None)
        del recipe["seed"]
        return {
            "recipe": recipe,
            "ranges": {name: tune.to_json() for name, tune in self._ranges.items()},
            "seeds": list(self.seeds),
            "criterion": [self.criterion.column, self.criterion.direction],
        }

    @property
    def trials(self) -> int:
        """How many points are tried."""
        return self._effort[0]

    def follow(self, scores: Mapping[str, float]) -> Course:
        """Return the trials that are known, given the scores of the cells that are done.

        A trial's score is the mean over its seeds. The next round is known when this one is done; the
        number of trials depends on nothing that is found.

        Args:
            scores: criterion of each cell that is done, by cell id; chance level where it diverged.
        """
        trials, method, rounds = self._effort
        space = Space({name: tune.axis for name, tune in self._ranges.items()})
        done: list[Round] = []
        known: list[Tried] = []
        for _ in range(rounds):
            box, points = next_round(
                space,
                done,
                trials=trials // rounds,
                direction=self.criterion.direction,
                design=METHODS[method],
            )
            tried = [self._tried(point, scores) for point in points]
            known += tried
            if any(trial.score is None for trial in tried):
                return Course(self, tuple(known), complete=False)
            done.append(Round(box, points, tuple(trial.score or 0.0 for trial in tried)))
        return Course(self, tuple(known), complete=True)

    def cells_with(self, values: Trial, seeds: tuple[int, ...], device: str) -> list[Cell]:
        """Return the recipe's cells with these values."""
        return list(cells_of(self.combination.settled(values), device, seeds))

    def _tried(self, values: Trial, scores: Mapping[str, float]) -> Tried:
        cells = tuple(self._cells(values, self.seeds))
        found = [scores[cell.id] for cell in cells if cell.id in scores]
        return Tried(values, cells, math.fsum(found) / len(cells) if len(found) == len(cells) else None)

    def _cells(self, values: Trial, seeds: tuple[int, ...]) -> list[Cell]:
        return self.cells_with(values, seeds, self.device)

    @cached_property
    def _ranges(self) -> dict[str, Any]:
        return self.combination.ranges

    @property
    def _effort(self) -> tuple[int, str, int]:
        effort: tuple[int, str, int] = next(iter(self._ranges.values())).effort
        return effort


@dataclass(frozen=True)
class Tried:
    """A trial: its values, its cells, one a seed, and their mean score; None while one is not done."""

    values: Trial
    cells: tuple[Cell, ...]
    score: float | None


@dataclass(frozen=True)
class Course:
    """How far a search is.

    Args:
        search: the search.
        trials: those that are known; all of them when it is complete.
        complete: whether every trial has a score.
    """

    search: Search
    trials: tuple[Tried, ...]
    complete: bool

    @property
    def best(self) -> int | None:
        """The place of the trial with the best score, the first of equals; None until it is complete.

        Where no score is a number, because every trial diverged from what has no chance level, it is
        the first.
        """
        if not self.complete:
            return None
        scores = [math.nan if trial.score is None else trial.score for trial in self.trials]
        return next(iter(ranked(scores, self.search.criterion.direction)), 0)

    @property
    def missing(self) -> int:
        """How many cells of the trials that are known have no score yet."""
        return sum(len(trial.cells) for trial in self.trials if trial.score is None)

    def choice(self) -> dict[str, Any]:
        """Return in plain JSON types what was tried and chosen, as the store keeps it.

        Raises:
            ValueError: the search is not complete.
        """
        best = self.best
        if best is None:
            raise ValueError(f"Search {self.search.id} is not complete.")
        values = [trial.values for trial in self.trials]
        return {
            "search": self.search.to_json(),
            "trials": [
                {"values": t.values, "cells": [cell.id for cell in t.cells], "score": _number(t.score)}
                for t in self.trials
            ],
            "trial": best,
            "chosen": values[best],
            "edges": edges(values, values[best]),
        }


def _number(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None
