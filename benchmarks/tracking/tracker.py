"""Feeds the tracking process with what happens in a run, and never waits for it while cells train."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from recipebench import processes
from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.environment import mask_secrets
from recipebench.benchmarks.executor import Event
from recipebench.benchmarks.results import Results
from recipebench.benchmarks.tracking import content
from recipebench.benchmarks.tracking.rows import Row, plain, version
from recipebench.benchmarks.tracking.target import Tracking

COMMAND = processes.command("recipebench.benchmarks.tracking.child")
"""How the tracking process is started."""

FOLDER = "tracking"
"""Where runs, and what else wandb writes, go in a store."""

MOST_PENDING = 64 * 2**20
"""Bytes that may wait for a tracking process that lags; what comes then is caught up with at the end."""

STALL = 120.0
"""Seconds without a sign of life after which the tracking process is given up."""

CATCH_UP = "`recipebench track` writes what is missing"

LAST_LINES = 20

Message = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What has become of the runs of a suite.

    Args:
        written: cells whose run was written now.
        kept: cells whose run had been written before.
        uploaded: runs, the suite's own among them, that a server has taken now.
        left: runs in the folder that no server has.
        folder: where the runs are.
        problem: what the server, or the tracking process, has said, or nothing.
        ended: whether the tracking process was lost, so that runs may be missing.
    """

    written: int
    kept: int
    uploaded: int
    left: int
    folder: Path
    problem: str = ""
    ended: bool = False

    def lines(self) -> list[str]:
        """Say it to a person."""
        sent = f", {self.uploaded} runs uploaded" if self.uploaded else ""
        told = f"W&B: {self.written} cells written, {self.kept} before{sent}."
        if self.ended:  # it has not said how far it came
            return [f"W&B: {self.problem}."]
        trouble = [f"W&B: {self.problem}"] if self.problem else []
        sync = f"W&B: {self.left} runs wait in {self.folder}. Upload them: wandb sync {self.folder}"
        return [told, *trouble, *([sync] if self.left else [])]


@dataclass(frozen=True)
class Closing:
    """What the closing run of a suite is made of.

    Args:
        name: the suite's name.
        description: what the suite says of itself.
        text: the suite's file.
        out: its report folder.
        command: what repeats the run.
        endpoint: what recipes are judged by.
        cells: all that were planned.
        results: their records and histories.
    """

    name: str
    description: str
    text: str
    out: Path
    command: str
    endpoint: str
    cells: Sequence[Cell]
    results: Results


class Tracker:
    """The matrix's side of tracking: called with events, then closed; a context manager.

    Args:
        tracking: where runs go.
        store: the folder of the store.
        suite: the suite's name.
        say: told what a person should know.
    """

    def __init__(self, tracking: Tracking, store: Path, suite: str, say: Say) -> None:
        self.folder = (store / FOLDER).absolute()
        self._shown = store / FOLDER / "wandb"
        self._say = say
        self._ended = ""
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env=processes.environment(),
            start_new_session=True,  # Ctrl-C is for the matrix, which then closes this one
        )
        self._pending, self._outbox = _Count(), queue.SimpleQueue[str]()
        self._answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._writer = self._start(self._write, self._process.stdin)
        self._reader = self._start(self._read, self._process.stdout)
        self._listener = self._start(self._listen, self._process.stderr)
        self._post({"do": "start", "folder": str(self.folder), "suite": suite, "tracking": asdict(tracking)})

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the process give up its open runs, then end it."""
        self._outbox.put("")  # closes its standard input
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STALL if kind is None else 5.0)
        self._process.kill()
        self._process.wait()
        for thread in (self._writer, self._reader, self._listener):
            thread.join(1.0)

    def __call__(self, event: Event) -> None:
        """Pass on what has happened to a pack."""
        match event.kind:
            case "started":
                self._offer({"do": "open", "cells": [content.described(cell) for cell in event.pack.cells]})
            case "epoch" if event.rows:
                self._offer({"do": "rows", "rows": event.rows})
            case "done":
                self._offer({"do": "done", "cells": _finished(event)})
            case "retried" | "failed":
                self._offer({"do": "drop", "cells": [cell.id for cell in event.pack.cells]})

    def close(self, closing: Closing) -> Outcome:
        """Write what has not been written, then the closing run; wait for uploads as long as they move."""
        records = content.records_of(closing.results)
        versions = {cell_id: version(record) for cell_id, record in records.items()}
        suite = _suite_message(closing, versions)
        asked = versions | {suite["run"]: suite["version"]}
        lacking = self._ask({"do": "lacking", "versions": asked}).get("runs", [])
        cells = {cell.id: cell for cell in closing.cells}
        wanted = [run for run in lacking if run in cells]
        for record, rows in content.cells_with_history(closing.results, wanted):
            described = content.described(cells[record["cell_id"]])
            self._post({"do": "done", "cells": [[record, rows, described]]})
        if suite["run"] in lacking:
            self._post(suite)
        return self._end(planned=len(versions))

    def write(self, record: Row, rows: list[Row], described: Row) -> Outcome:
        """Write one run and nothing else; see `content.described`."""
        self._post({"do": "done", "cells": [[record, rows, described]]})
        return self._end(planned=1)

    def _end(self, *, planned: int) -> Outcome:
        end = self._ask({"do": "end"})
        written = end.get("written", 0)
        return Outcome(
            written,
            planned - written,
            end.get("uploaded", 0),
            end.get("left", 0),
            self._shown,
            self._ended or end.get("problem", ""),
            bool(self._ended),
        )

    def _offer(self, message: Message) -> None:
        """Send a message unless too many wait; what is left out is written when the suite is closed."""
        if self._pending.value < MOST_PENDING:
            self._post(message)

    def _post(self, message: Message) -> None:
        text = json.dumps(message)
        self._pending.add(len(text))
        self._outbox.put(text)

    def _ask(self, message: Message) -> Message:
        """Send a message and return its answer; an empty one if the process ends or stalls."""
        self._post(message)
        wanted = "end" if message["do"] == "end" else "lacking"
        while not self._ended:
            try:
                answer = self._answers.get(timeout=STALL)
            except queue.Empty:
                self._ended = f"tracking does not answer for {STALL:.0f} s and is given up; {CATCH_UP}"
                break
            if answer["kind"] == wanted:
                return answer
            if answer["kind"] == "lost":
                self._ended = self._cause()
        return {}

    def _start(self, work: Callable[[IO[str]], None], stream: IO[str]) -> threading.Thread:
        thread = threading.Thread(target=work, args=(stream,), daemon=True)
        thread.start()
        return thread

    def _write(self, stream: IO[str]) -> None:
        with contextlib.suppress(OSError, ValueError):  # it has ended; said by the one who reads
            while text := self._outbox.get():
                stream.write(text + "\n")
                stream.flush()
                self._pending.add(-len(text))
        with contextlib.suppress(OSError):
            stream.close()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with contextlib.suppress(ValueError):  # it died while it wrote
                    answer = json.loads(line)
                    if answer["kind"] == "note":
                        self._say(f"W&B: {answer['text']}.")
                    else:
                        self._answers.put(answer)
        self._answers.put({"kind": "lost"})

    def _listen(self, stream: IO[str]) -> None:
        with stream:
            self._said.extend(stream)

    def _cause(self) -> str:
        self._listener.join(1.0)
        last = " ".join(mask_secrets([self._said[-1].strip()])) if self._said else "it said nothing"
        return f"tracking has ended early: {last[:300]}; {CATCH_UP}"


class _Count:
    """A number that two threads change."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        with self._lock:
            self.value += number


def _finished(event: Event) -> list[list[Any]]:
    """Return record, history and description of each cell of a pack that is done."""
    histories: dict[str, list[Any]] = {}
    for row in event.history:
        histories.setdefault(row["cell_id"], []).append(plain(row))
    cells = {cell.id: cell for cell in event.pack.cells}
    return [
        [plain(record), histories.get(cell_id, []), content.described(cells[cell_id])]
        for record in event.records
        if (cell_id := record["cell_id"])
    ]


def _suite_message(closing: Closing, versions: Mapping[str, str]) -> Message:
    held = json.dumps([sorted(versions.items()), sorted(cell.id for cell in closing.cells), closing.text])
    counts = closing.results.counts
    return {
        "do": "suite",
        "run": f"suite-{closing.name}",
        "version": hashlib.sha256(held.encode()).hexdigest()[:16],
        "description": closing.description,
        "text": closing.text,
        "out": str(closing.out.absolute()),
        "config": {"command": closing.command, "endpoint": closing.endpoint},
        "counts": {"planned": sum(counts.values()), **counts},
    }
