"""Runs packs in worker processes on this machine, and replaces workers that die."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import recipebench
from recipebench.benchmarks.packs import Pack

DEATHS = 2
"""How often a pack may lose its worker before it is halved, or, of one cell, given up."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a pack.

    Args:
        kind: `started`, `epoch`, `done`, `retried` (again, whole or halved) or `failed` (given up).
        worker: the number of the worker.
        pack: the pack it is about.
        epoch: the epoch that ended (`epoch`).
        records: one row a cell (`done`).
        history: their rows by epoch (`done`).
        reason: in one line (`retried`, `failed`).
        traceback: where the worker raised, or empty (`failed`).
    """

    kind: str
    worker: int
    pack: Pack
    epoch: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    traceback: str = ""


class LocalExecutor:
    """Worker processes, one thread each, that take packs from one queue; use as a context manager.

    Args:
        workers: number of processes.
        data_dir: where workers look for data first.
    """

    def __init__(self, workers: int, data_dir: Path | None = None) -> None:
        self._data_dir = str(data_dir) if data_dir else None
        self._workers = [_Worker(number) for number in range(workers)]
        self._events: queue.SimpleQueue[tuple[int, Pack, dict[str, Any]]] = queue.SimpleQueue()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.kill()

    def run(self, packs: Sequence[Pack]) -> Iterator[Event]:
        """Train all packs and yield what happens, until every cell is done or failed.

        A pack that raises is halved until the cell at fault is alone; a pack whose worker dies is
        tried again and then halved. Each cell ends in exactly one `done` or `failed` event.
        """
        waiting = deque(packs)
        deaths: dict[Pack, int] = {}
        idle = list(range(len(self._workers)))
        while waiting or len(idle) < len(self._workers):
            while waiting and idle:
                number, pack = idle.pop(0), waiting.popleft()
                yield Event("started", number, pack)
                self._start(number, pack)
            number, pack, message = self._events.get()
            if message["kind"] == "epoch":
                yield Event("epoch", number, pack, epoch=message["epoch"])
                continue
            idle.append(number)
            if message["kind"] == "done":
                yield Event("done", number, pack, records=message["records"], history=message["history"])
            else:
                yield self._after_failure(number, pack, message, waiting, deaths)

    def _after_failure(
        self, number: int, pack: Pack, message: dict[str, Any], waiting: deque[Pack], deaths: dict[Pack, int]
    ) -> Event:
        deaths[pack] = deaths.get(pack, 0) + (message["kind"] == "died")
        if message["kind"] == "died" and deaths[pack] < DEATHS:
            waiting.append(pack)
        elif len(pack.cells) > 1:
            waiting.extend(pack.halves())
        else:
            return Event(
                "failed", number, pack, reason=message["reason"], traceback=message.get("traceback", "")
            )
        return Event("retried", number, pack, reason=message["reason"])

    def _start(self, number: int, pack: Pack) -> None:
        request = {"cells": [cell.to_json() for cell in pack.cells], "data_dir": self._data_dir}

        def converse() -> None:
            for message in self._workers[number].ask(request):
                self._events.put((number, pack, message))

        threading.Thread(target=converse, daemon=True).start()


class _Worker:
    """One worker process, started when it is first needed and again after it died."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._process: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a request and yield the answers; the last is `done`, `error` or `died`."""
        process = self._alive()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if not line.endswith("\n"):
                    break  # it died while it wrote
                message = json.loads(line)
                if message["kind"] != "ready":
                    yield message
                if message["kind"] in ("done", "error"):
                    return
        except BrokenPipeError:
            pass  # it died before it read the request; said below
        yield {"kind": "died", "reason": _cause(process.wait())}

    def kill(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _alive(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "recipebench.benchmarks.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=_environment(),
            )
        return self._process


def _environment() -> dict[str, str]:
    """Give the worker one thread, and this very copy of recipebench."""
    home = str(Path(recipebench.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": path}


def _cause(code: int) -> str:
    if code == -9:
        return "worker killed by signal 9 (out of memory, if nobody killed it)"
    return f"worker killed by signal {-code}" if code < 0 else f"worker ended with exit code {code}"
