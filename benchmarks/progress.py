"""Shows a run while it goes on: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from recipebench.benchmarks.executor import Event
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.runner import Plan

LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


class ProgressView:
    """Counts cells as their packs end and epochs as they pass; a context manager, called with events.

    Args:
        plan: what will be trained.
        console: where to show it.
    """

    def __init__(self, plan: Plan, console: Console) -> None:
        self._console = console
        self._total = sum(len(pack.cells) for pack in plan.packs) + plan.agenda.to_come
        self._done = 0
        self._credit: dict[Pack, float] = {}
        self._started = self._spoke = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("cells", total=self._total, rate="")

    def __enter__(self) -> ProgressView:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if event.kind == "epoch":
            epochs = event.pack.cells[0].epochs
            self._credit[event.pack] = len(event.pack.cells) * min(1.0, event.epoch / epochs)
        else:
            self._credit.pop(event.pack, None)
        if event.kind in ("done", "failed"):
            self._done += len(event.pack.cells)
        if event.kind in ("retried", "failed"):
            again = "trying again" if event.kind == "retried" else "given up"
            names = ", ".join(cell.id for cell in event.pack.cells[:3])
            more = f" and {len(event.pack.cells) - 3} more" if len(event.pack.cells) > 3 else ""
            self._console.print(f"{names}{more}: {event.reason}; {again}", markup=False, highlight=False)
        self._show()

    def _show(self) -> None:
        reached = self._done + sum(self._credit.values())
        minutes = (time.monotonic() - self._started) / 60
        rate = f"{reached / minutes:.0f} cells/min" if minutes > 0 else ""
        self._bar.update(self._task, completed=reached, rate=rate)
        ended = self._done == self._total
        if not self._console.is_terminal and (time.monotonic() - self._spoke > LINE_EVERY or ended):
            self._spoke = time.monotonic()
            left = f"{(self._total - reached) / reached * minutes:.1f} min left" if reached else "just begun"
            line = ", ".join(filter(None, [f"{self._done} of {self._total} cells", rate, left]))
            self._console.print(line, markup=False, highlight=False)
