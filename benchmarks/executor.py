"""Runs packs in worker processes, and decides what becomes of packs whose workers raise, die or are lost."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import subprocess
import threading
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

from recipebench import plugins, processes
from recipebench.benchmarks.devices import device_parts
from recipebench.benchmarks.packs import Pack

COMMAND = processes.command("recipebench.benchmarks.worker")
"""How a worker is started."""

BOUNDS = {"died": 2, "lost": 4}
"""How often a pack may lose its worker, or its whole machine, before it is halved, or, of one cell, given up.

A machine is lost without fault of the pack more often than a worker is.
"""

STARTS = 3
"""How many workers in succession may end before they are ready, until the run is given up."""

LAST_LINES = 100
"""Lines of a worker's standard error that are kept, to say why it died; nobody sees them otherwise."""

GRACE = 5.0
"""Seconds that a worker which has closed its output is given to end by itself."""

Message = dict[str, Any]
"""What is sent to a worker or comes from it."""


class WorkerError(Exception):
    """No worker can do its work, whatever it is given: the message says why, what is finished is kept."""


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
        rows: the rows of its cells since the last such event, by cell, if they were asked for (`epoch`).
        reason: in one line (`retried`, `failed`).
        traceback: where the worker raised, or what it said before it died (`failed`).
    """

    kind: str
    worker: int
    pack: Pack
    epoch: int = 0
    records: list[dict[str, Any]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reason: str = ""
    traceback: str = ""


class Executor(ABC):
    """Hands packs to workers and follows what becomes of them; use as a context manager.

    Where the workers are is the business of `LocalExecutor` and of `executor_ray.RayExecutor`; what is
    retried, halved and given up is decided here, for all alike.

    Args:
        slots: how many packs are under way at the same time.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """End all workers."""

    @abstractmethod
    def _start(self, number: int, pack: Pack) -> None:
        """Begin to train a pack in a slot."""

    @abstractmethod
    def _next(self) -> tuple[int, Message]:
        """Wait for the next message of any slot that has a pack, and return both.

        Its kind is `epoch`, `done`, `error` (training raised), `died` (the worker did), `lost` (its
        machine was), `unstarted` (it ended before it was ready) or `unfit` (its machine must not be used).
        """

    def run(self, packs: Iterable[Pack]) -> Iterator[Event]:
        """Train all packs and yield what happens, until every cell is done or failed.

        A pack that raises is halved until the cell at fault is alone; a pack whose worker dies is
        tried again and then halved; a pack whose machine is lost is tried elsewhere. Each cell ends in
        exactly one `done` or `failed` event. A pack that several processes train waits until there are
        places for all of them.

        Raises:
            WorkerError: workers end before they are ready, or must not be used, so that no pack is to
                blame.
        """
        waiting = deque(packs)
        blows: Counter[tuple[Pack, str]] = Counter()
        busy: dict[int, Pack] = {}
        idle = deque(range(self.slots))
        false_starts = 0
        while waiting or busy:
            while waiting and idle and self._has_room(waiting[0], busy.values()):
                number, pack = idle.popleft(), waiting.popleft()
                busy[number] = pack
                yield Event("started", number, pack)
                self._start(number, pack)
            number, message = self._next()
            pack, kind = busy[number], message["kind"]
            false_starts = false_starts + 1 if kind == "unstarted" else 0
            if kind == "unfit" or false_starts == STARTS:
                raise WorkerError(_why_none(message))
            if kind == "epoch":
                yield Event("epoch", number, pack, epoch=message["epoch"], rows=message.get("rows", {}))
                continue
            idle.append(number)
            del busy[number]
            if kind == "done":
                yield Event("done", number, pack, records=message["records"], history=message["history"])
            else:
                yield _after_failure(number, pack, message, waiting, blows)

    def _places(self, pack: Pack) -> int:
        """Return how many of the slots a pack takes."""
        return 1

    def _has_room(self, pack: Pack, busy: Iterable[Pack]) -> bool:
        return sum(map(self._places, busy)) + self._places(pack) <= self.slots


def _why_none(message: Message) -> str:
    start = "" if message["kind"] == "unfit" else "Workers do not start: "
    return f"{start}{message['reason']}.\n{message['traceback']}".rstrip()


def _after_failure(
    number: int, pack: Pack, message: Message, waiting: deque[Pack], blows: Counter[tuple[Pack, str]]
) -> Event:
    kind = message["kind"]
    blows[pack, kind] += 1
    if kind == "unstarted" or blows[pack, kind] < BOUNDS.get(kind, 1):
        waiting.append(pack)
    elif len(pack.cells) > 1:
        waiting.extend(pack.halves())
    else:
        return Event("failed", number, pack, reason=message["reason"], traceback=message["traceback"])
    return Event("retried", number, pack, reason=message["reason"])


class LocalExecutor(Executor):
    """Worker processes on this machine, one thread each, that take packs from one queue.

    Args:
        workers: number of processes.
        data_dir: where workers look for data first.
        gpus: the devices that each worker may use, in the notation of `CUDA_VISIBLE_DEVICES`, from
            `gpus.shares`; workers take them in turn. None leaves a worker what this process has.
        rows: whether `epoch` events carry the rows of the histories.
        graphs: whether packs on GPUs record their steps as CUDA graphs.
    """

    def __init__(
        self,
        workers: int,
        data_dir: Path | None = None,
        gpus: Sequence[str] = (),
        *,
        rows: bool = False,
        graphs: bool = False,
    ) -> None:
        super().__init__(workers)
        self._rows, self._graphs = rows, graphs
        self.gpus = tuple(gpus)
        self._data_dir = data_dir
        turns = itertools.cycle(gpus or [None])
        self._workers = [WorkerProcess(share) for share in itertools.islice(turns, workers)]
        self._messages: queue.SimpleQueue[tuple[int, Message]] = queue.SimpleQueue()

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.bury()

    def _places(self, pack: Pack) -> int:
        kind, count = device_parts(pack.cells[0].device)
        if kind == "cpu":
            return min(self.slots, count)
        return 1 if self.gpus else self.slots  # without GPUs of its own a worker uses them all

    def _start(self, number: int, pack: Pack) -> None:
        request = training_request(pack, self._data_dir, rows=self._rows, graphs=self._graphs)

        def converse() -> None:
            for message in self._workers[number].ask(request):
                self._messages.put((number, message))

        threading.Thread(target=converse, daemon=True).start()

    def _next(self) -> tuple[int, Message]:
        return self._messages.get()


def training_request(
    pack: Pack, data_dir: Path | None, *, rows: bool = False, graphs: bool = False
) -> Message:
    """Return what a worker is asked for the records and histories of a pack, with `rows` as they come."""
    return {
        **({"rows": True} if rows else {}),
        **({"graphs": True} if graphs else {}),
        "cells": [cell.to_json() for cell in pack.cells],
        "data_dir": str(data_dir) if data_dir else None,
        "plugins": [{"path": str(plugin.path), "sha256": plugin.sha256} for plugin in plugins.loaded()],
    }


def ask_once(request: Message) -> Message:
    """Start a worker for one request and return its last answer, `done`.

    Raises:
        WorkerError: the worker raised or died.
    """
    worker = WorkerProcess()
    try:
        *_, last = worker.ask(request)
    finally:
        worker.kill()
        worker.bury()
    if last["kind"] != "done":
        raise WorkerError(f"{last['reason']}.\n{last['traceback']}".rstrip())
    return last


class WorkerProcess:
    """One worker process, started when it is first needed and again after it died.

    Args:
        gpus: what it gets as `CUDA_VISIBLE_DEVICES`; None for what this process has.
    """

    def __init__(self, gpus: str | None = None) -> None:
        self._gpus = gpus
        self._process: subprocess.Popen[str] | None = None
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        self._closed = self._ready = False
        self._starting, self._talking = threading.Lock(), threading.Lock()

    def ask(self, request: Message) -> Iterator[Message]:
        """Send a request and yield the answers; the last is `done`, `error`, `died` or `unstarted`."""
        with self._talking:
            try:
                yield from self._converse(self._alive(), json.dumps(request))
            except (OSError, ValueError) as error:  # it did not start, or what it wrote is no message
                self._end(grace=0)
                yield self._loss(f"worker lost: {type(error).__name__}: {error}")

    def kill(self) -> None:
        """End the process, whatever it does; none is started any more."""
        with self._starting:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()

    def bury(self) -> None:
        """Wait until the process that was killed is gone, and close its pipes."""
        with self._talking:
            self._end(grace=0)

    def _converse(self, process: subprocess.Popen[str], request: str) -> Iterator[Message]:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it died before it read the request; said below
            process.stdin.write(request + "\n")
            process.stdin.flush()
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # it died while it wrote
            message = json.loads(line)
            if message["kind"] == "ready":
                self._ready = True
            else:
                yield message
            if message["kind"] in ("done", "error"):
                return
        yield self._loss(self._cause(self._end(grace=GRACE)))

    def _loss(self, reason: str) -> Message:
        kind = "died" if self._ready else "unstarted"
        return {"kind": kind, "reason": reason, "traceback": "".join(self._said)}

    def _alive(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is not None:
            self._end(grace=0)
        with self._starting:
            if self._closed:
                raise OSError("the run is over")
            if self._process is None:
                self._ready = False
                self._said.clear()
                self._process = subprocess.Popen(
                    COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    encoding="utf-8",
                    errors="replace",
                    env=_environment(self._gpus),
                )
                assert self._process.stderr is not None
                self._listener = threading.Thread(
                    target=self._listen, args=[self._process.stderr], daemon=True
                )
                self._listener.start()
            return self._process

    def _listen(self, stream: IO[str]) -> None:
        """Keep the last lines of what the worker and the libraries in it say."""
        with stream:
            self._said.extend(stream)

    def _end(self, *, grace: float) -> int:
        """Wait for the process to end, after `grace` seconds kill it; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        try:
            code = process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._listener.join(GRACE)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # what it had not read
                pipe.close()
        return code

    def _cause(self, code: int) -> str:
        if code == -9:
            return "worker killed by signal 9 (out of memory, if nobody killed it)"
        if code < 0:
            return f"worker killed by signal {-code}"
        last = " ".join(self._said[-1].split()) if self._said else "it said nothing"
        return f"worker ended with exit code {code}: {last}"[:500]


def _environment(gpus: str | None) -> dict[str, str]:
    """Give the worker one thread, its GPUs, this copy of recipebench, and no key that a level could tell."""
    inherited = {name: value for name, value in processes.environment().items() if name != "WANDB_API_KEY"}
    visible = {} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus}
    return {**inherited, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **visible}
