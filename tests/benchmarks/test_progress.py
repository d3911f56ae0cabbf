"""Progress: what a run says while it goes on."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from recipebench.benchmarks.agenda import Agenda, Planned
from recipebench.benchmarks.executor import Event
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.progress import ProgressView
from recipebench.benchmarks.runner import Plan
from recipebench.benchmarks.suite import load_suite


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("recipebench.benchmarks.progress.time.monotonic", lambda: now[0])
    return now


def view_of(trained: Any, *, terminal: bool = False) -> tuple[ProgressView, list[Pack], io.StringIO]:
    cells = trained.cells
    packs = [Pack(tuple(cells[:6])), Pack(tuple(cells[6:]))]
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, highlight=False)
    plan = Plan(load_suite(trained.suite), Agenda(tuple(map(Planned, cells))), packs=tuple(packs))
    return ProgressView(plan, console), packs, out


def test_without_a_terminal_a_line_now_and_then(trained: Any, clock: list[float]) -> None:
    view, (first, second), out = view_of(trained)

    with view:
        view(Event("started", 0, first))
        clock[0] = 11.0
        view(Event("started", 1, second))
        clock[0] = 15.0
        view(Event("epoch", 0, first, epoch=2))
        clock[0] = 30.0
        view(Event("done", 0, first))
        clock[0] = 31.0
        view(Event("epoch", 1, second, epoch=5))
        clock[0] = 60.0
        view(Event("done", 1, second))

    assert out.getvalue().splitlines() == [
        "0 of 12 cells, 0 cells/min, just begun",
        "6 of 12 cells, 12 cells/min, 0.5 min left",
        "12 of 12 cells, 12 cells/min, 0.0 min left",
    ]


def test_epochs_count_before_their_cells_are_done(trained: Any, clock: list[float]) -> None:
    view, (first, _), out = view_of(trained)
    clock[0] = 60.0

    with view:
        view(Event("epoch", 0, first, epoch=2))  # 6 cells, 2 of 5 epochs

    assert out.getvalue() == "0 of 12 cells, 2 cells/min, 4.0 min left\n"


@pytest.mark.parametrize(("kind", "end"), [("retried", "trying again"), ("failed", "given up")])
def test_failures_are_told_as_they_are_written(trained: Any, clock: list[float], kind: str, end: str) -> None:
    view, (first, _), out = view_of(trained)

    with view:
        view(Event(kind, 0, first, reason="E: size [1, 8] [red]"))

    names = ", ".join(cell.id for cell in first.cells[:3])
    assert out.getvalue().replace("\n", " ").startswith(f"{names} and 3 more: E: size [1, 8] [red]; {end}")


def test_on_a_terminal_a_bar(trained: Any) -> None:
    view, packs, out = view_of(trained, terminal=True)

    with view:
        for pack in packs:
            view(Event("done", 0, pack))

    assert "12/12" in out.getvalue()
    assert "cells/min" in out.getvalue()
