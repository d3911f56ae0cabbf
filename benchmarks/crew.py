"""The other processes that train a cell on several devices: started, told, watched and ended by the first."""

from __future__ import annotations

import atexit
import queue
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.data_parallel import TIMEOUT, LostRankError, joined
from recipebench.benchmarks.executor import GRACE, Message, WorkerProcess, training_request
from recipebench.benchmarks.packs import Pack
from recipebench.lightning_modules.shares import Share

BROKEN = ("gloo", "NCCL", "Connection", "Timed out", "Wait timeout", "Broken pipe")
"""What torch says where a sum over processes fails for want of one of them."""


class RankError(RuntimeError):
    """A process that trains with this one raised."""


class Crew:
    """Processes beside this one, ready for one pack after the other.

    They are workers like this one. Their standard input is a pipe that this process alone holds: when it
    goes, however it goes, they end by themselves.

    Args:
        others: how many.
    """

    def __init__(self, others: int) -> None:
        self._workers = [WorkerProcess() for _ in range(others)]
        self._messages: queue.SimpleQueue[tuple[int, Message]] = queue.SimpleQueue()

    def tell(self, request: Message, meeting: Path) -> None:
        """Send every process its part of the work."""
        for rank, worker in enumerate(self._workers, 1):
            place = {"rank": rank, "ranks": len(self._workers) + 1, "meeting": str(meeting)}
            threading.Thread(
                target=self._converse, args=(rank, worker, {**request, "share": place}), daemon=True
            ).start()

    def wait_for(self, kind: str, seconds: float) -> None:
        """Wait until every process has said a word.

        Raises:
            LostRankError: one died, or has not said it after `seconds`.
            RankError: one raised.
        """
        missing = set(range(1, len(self._workers) + 1))
        while missing:
            try:
                rank, message = self._messages.get(timeout=seconds)
            except queue.Empty:
                names = ", ".join(map(str, sorted(missing)))
                raise LostRankError(f"rank {names} has not answered for {seconds:.0f} seconds") from None
            if message["kind"] == kind:
                missing.discard(rank)
            _refuse(rank, message)

    def look(self) -> None:
        """Hear what the processes have said since, without waiting.

        Raises:
            LostRankError: one died.
            RankError: one raised.
        """
        while not self._messages.empty():
            _refuse(*self._messages.get())

    def close(self) -> None:
        """End all processes, whatever they do."""
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.bury()

    def _converse(self, rank: int, worker: WorkerProcess, request: Message) -> None:
        for message in worker.ask(request):
            self._messages.put((rank, message))


def _refuse(rank: int, message: Message) -> None:
    if message["kind"] == "error":
        raise RankError(f"rank {rank}: {message['reason']}")
    if message["kind"] in ("died", "unstarted"):
        raise LostRankError(f"rank {rank}: {message['reason']}")


_kept: dict[int, Crew] = {}


@contextmanager
def first_of(ranks: int, cells: Sequence[Cell], data_dir: Path | None) -> Iterator[Share]:
    """Have the other processes train the same cells for the time of a block, in which this one trains too.

    Processes are kept for the next pack; after any failure they are ended.

    Args:
        ranks: processes in all.
        cells: what is trained.
        data_dir: where data are looked for first.

    Raises:
        LostRankError: another process died or does not answer.
        RankError: another process raised.
    """
    crew = _crew_of(ranks)
    request = training_request(Pack(tuple(cells)), data_dir)
    try:
        with tempfile.TemporaryDirectory(prefix="recipebench-") as folder:
            meeting = Path(folder) / "meeting"
            crew.tell(request, meeting)
            crew.wait_for("joining", TIMEOUT.total_seconds())
            with _explained(crew), joined(cells[0].device, Share(0, ranks), meeting, crew.look):
                yield Share(0, ranks)
            crew.wait_for("done", TIMEOUT.total_seconds())
    except BaseException:
        dismiss()
        raise


@contextmanager
def _explained(crew: Crew) -> Iterator[None]:
    """Say which process was lost where a sum over all of them failed."""
    try:
        yield
    except (LostRankError, RankError):  # it is said already
        raise
    except RuntimeError as error:
        if any(word in str(error) for word in BROKEN):
            crew.wait_for("done", GRACE)
        raise


def _crew_of(ranks: int) -> Crew:
    if ranks not in _kept:
        dismiss()
        _kept[ranks] = Crew(ranks - 1)
    return _kept[ranks]


@atexit.register
def dismiss() -> None:
    """End the processes that wait for the next pack."""
    while _kept:
        _kept.popitem()[1].close()


def serve(place: Message, cells: Sequence[Cell], data_dir: Path | None, send: Any) -> dict[str, Any]:
    """Train cells as one of several processes that is not the first.

    Args:
        place: `rank`, `ranks` and the file in which they meet.
        cells: what is trained.
        data_dir: where data are looked for first.
        send: tells the first process.
    """
    from recipebench.benchmarks import training

    share = Share(place["rank"], place["ranks"])
    send({"kind": "joining"})
    with joined(cells[0].device, share, Path(place["meeting"])):
        training.train_share(cells, data_dir, share)
    return {}
