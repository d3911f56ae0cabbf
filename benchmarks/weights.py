"""Writes the weights of a cell: no pickle, the names of the plain module."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.records import restores_best
from recipebench.benchmarks.store_files import write_files
from recipebench.benchmarks.training import plain_module, train


def export(cell: Cell, at: str, out: Path, data_dir: Path | None) -> None:
    """Train a cell alone and write its weights as safetensors, `cell_id` and `at` as JSON in the header.

    Args:
        cell: what to train.
        at: `start` (untrained), `end` (after the last epoch; for early stopping the restored best
            weights) or `best` (the epoch of the lowest validation loss).
        out: the file; its folder is made if need be.
        data_dir: where data are looked for first.
    """
    header = json.dumps({"cell_id": cell.id, "at": at})  # one key: their order in a file is random
    content = save(_state(cell, at, data_dir), metadata={"recipebench": header})
    out.parent.mkdir(parents=True, exist_ok=True)
    write_files({out: content})


def _state(cell: Cell, at: str, data_dir: Path | None) -> dict[str, torch.Tensor]:
    if at == "start":
        return dict(plain_module(cell, data_dir).state_dict())
    (result,) = train([cell], data_dir, keep_best=True)
    if at == "best" or restores_best(cell):
        return result.track.best_state
    return dict(result.track.module.state_dict())
