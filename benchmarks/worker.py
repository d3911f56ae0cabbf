"""A worker process: reads packs as lines of JSON, trains them with one thread, writes what was measured.

Run as `python -m recipebench.benchmarks.worker`; the executor starts it. Lines on standard input are
requests: `{cells, data_dir, plugins}`, with `rows: true` where each epoch's rows are wanted as it ends,
`graphs: true` where packs record their steps,
and `weights: {at, out}` where the weights of the one cell are wanted, or `share: {rank, ranks, meeting}`
where it is to train with others. Plug-ins come with their SHA-256: one that has changed since the run
began is refused.
Messages go to the descriptor that was standard output, which nothing else can write to.
When standard input closes, because the parent is gone, the process ends at once.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from recipebench.benchmarks.cells import Cell
    from recipebench.benchmarks.records import Row
    from recipebench.benchmarks.training import Histories

Send = Callable[[dict[str, Any]], None]

OUT_OF_MEMORY = (
    *("DefaultCPUAllocator", "CUDA out of memory", "CUDA error: out of memory"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
)
"""How torch and the libraries below it word it."""

EX_LOST = 71
"""How a worker ends that has lost a process it trained with."""


def main() -> None:
    """Serve requests until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, requests), daemon=True).start()
    send = _sender()
    import torch

    from recipebench.benchmarks import training  # noqa: F401  (loaded before the first pack arrives)

    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    send({"kind": "ready"})
    while True:
        _serve(json.loads(requests.get()), send)


def _read(source: TextIO, requests: queue.SimpleQueue[str]) -> None:
    for line in source:
        requests.put(line)
    os._exit(0)


def _sender() -> Send:
    """Keep standard output for messages; what libraries print goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    return send


def _serve(request: dict[str, Any], send: Send) -> None:
    from recipebench import plugins
    from recipebench.benchmarks.cells import Cell
    from recipebench.benchmarks.data_parallel import LostRankError

    try:
        for plugin in request.get("plugins", []):
            plugins.load(**plugin)
        cells = [Cell.from_json(cell) for cell in request["cells"]]
        data_dir = Path(request["data_dir"]) if request["data_dir"] else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if place := request.get("share"):
                answer = _serve_share(place, cells, data_dir, send)
            elif weights := request.get("weights"):
                answer = _export(cells[0], data_dir, **weights)
            else:
                wanted = {name: request.get(name, False) for name in ("rows", "graphs")}
                answer = measure(cells, data_dir, send, **wanted)
    except LostRankError as error:  # as if this process had died too: the executor starts another
        print(f"LostRankError: {error}", file=sys.stderr, flush=True)
        os._exit(EX_LOST)
    except Exception as error:  # whatever a recipe raises becomes a row that says so
        _end_if_the_device_is_lost(error)
        answer = {"kind": "error", "reason": _reason(error), "traceback": traceback.format_exc()}
    else:
        answer = {"kind": "done", **answer}
    _give_memory_back()
    send(answer)


def _end_if_the_device_is_lost(error: Exception) -> None:
    """End this process after an error that every later call on the device would repeat."""
    import torch

    if isinstance(error, torch.AcceleratorError) and _reason(error) != "out of memory":
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(EX_LOST)


def _give_memory_back() -> None:
    """Free what a pack held on a graphics processor: a trainer and its module hold each other."""
    import torch

    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _serve_share(
    place: dict[str, Any], cells: Sequence[Cell], data_dir: Path | None, send: Send
) -> dict[str, Any]:
    from recipebench.benchmarks import crew

    return crew.serve(place, cells, data_dir, send)


def _export(cell: Cell, data_dir: Path | None, *, at: str, out: str) -> dict[str, Any]:
    from recipebench.benchmarks import weights

    weights.export(cell, at, Path(out), data_dir)
    return {}


def measure(
    cells: Sequence[Cell], data_dir: Path | None, send: Send, *, rows: bool = False, graphs: bool = False
) -> dict[str, Any]:
    """Train the cells of a pack and return what the store keeps of them: `records` and `history`.

    Args:
        cells: cells that form a pack, or one.
        data_dir: where data are looked for first.
        send: told of every epoch that ends.
        rows: whether it is told of the rows of the history too.
        graphs: as in `training.train`.
    """
    from recipebench.benchmarks import training
    from recipebench.benchmarks.environment import build
    from recipebench.benchmarks.records import has_blown_up, record

    records, history = [], []
    for result in training.train(cells, data_dir, _Teller(send, rows=rows), graphs=graphs):
        track, lines, diverged_at = result.track, result.track.history, result.track.diverged_at
        steps = len(track.data.train_dataloader())
        if diverged_at is None and has_blown_up(lines[-1]):
            diverged_at, lines = steps * lines[-1]["epoch"], lines[:-1]
        records.append(
            record(
                result.cell,
                lines,
                parameters=track.module.count_parameters(),
                steps_per_epoch=steps,
                diverged_at=diverged_at,
                best_epoch=track.best_epoch,
                pack_seconds=result.seconds,
                build=build(),
            )
        )
        history += [{"cell_id": result.cell.id, **line} for line in lines]
    return {"records": records, "history": history}


class _Teller:
    """Tells of every epoch that ends and, where asked, of the rows that are certain to stay.

    A row whose losses are not finite is held back: if it is a cell's last, it will be taken away.
    """

    def __init__(self, send: Send, *, rows: bool) -> None:
        self._send, self._rows = send, rows
        self._told: dict[str, int] = {}

    def __call__(self, epoch: int, histories: Histories) -> None:
        message: dict[str, Any] = {"kind": "epoch", "epoch": epoch}
        if self._rows:
            message["rows"] = {
                name: new for name, lines in histories.items() if (new := self._new(name, lines))
            }
        self._send(message)

    def _new(self, cell_id: str, lines: Sequence[Row]) -> list[Row]:
        from recipebench.benchmarks.records import has_blown_up

        told, end = self._told.get(cell_id, 0), len(lines)
        while end > told and has_blown_up(lines[end - 1]):
            end -= 1
        self._told[cell_id] = end
        return list(lines[told:end])


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY):
        return "out of memory"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


if __name__ == "__main__":
    main()
