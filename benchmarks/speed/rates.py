"""What it costs that every member of a pack has a rate of its own, against one rate for all.

`python -m recipebench.benchmarks.speed.rates` trains two packs of equal size in turn, several rounds, for
every optimizer that has a vector form: in one all members have one learning rate, in the other each has its
own, as the trials of a search do. It prints medians of the rounds' ratios of processor time: one thread
works, and what other processes take does not count.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from recipebench.benchmarks import training
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.speed.batch_sizes import conditions
from recipebench.benchmarks.suite import load_suite

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")

SETTINGS: dict[str, tuple[int, dict[str, Any]]] = {
    "digits 32 batch 32, pack of 64": (
        64,
        {
            "data": ["digits"],
            "model": {"mlp": {"hidden": [32]}},
            "protocol": {"epochs": 10, "batch_size": 32},
        },
    ),
    "mnist 128-64 batch 128, pack of 10": (
        10,
        {
            "data": ["mnist"],
            "model": {"mlp": {"hidden": [128, 64]}},
            "protocol": {"epochs": 1, "batch_size": 128},
        },
    ),
}


def pack_of(setting: str, optimizer: str, *, one_rate: bool) -> list[Cell]:
    """Return the cells of a pack, one a seed, with one rate or with a rate of its own for each."""
    members, suite = SETTINGS[setting]
    rates = [1e-4 * (1 + (0 if one_rate else k / members)) for k in range(members)]
    cells: list[Cell] = []
    for seed, rate in enumerate(rates):
        matrix = {"optimizer": [optimizer], "optimizer.lr": [rate]}
        cells += expand(load_suite({"name": "rates", **suite, "matrix": matrix, "seeds": [seed]}))
    return cells


def measured(setting: str, optimizer: str, rounds: int, data_dir: Path | None) -> dict[str, Any]:
    """Train both packs in turn; return processor seconds of each and the median of the rounds' ratios."""
    packs = {one_rate: pack_of(setting, optimizer, one_rate=one_rate) for one_rate in (True, False)}
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for one_rate, cells in packs.items():
            start = time.process_time()
            training.train(cells, data_dir)
            seconds[one_rate].append(time.process_time() - start)
    ratios = [many / one for one, many in zip(seconds[True], seconds[False], strict=True)]
    return {
        "setting": setting,
        "optimizer": optimizer,
        "rounds": rounds,
        "one rate": seconds[True],
        "a rate each": seconds[False],
        "ratio": statistics.median(ratios),
    }


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the figures as a Markdown table."""
    head = "| setting | optimizer | rounds | a rate each / one rate, median |\n| --- | --- | --- | --- |"
    rows = [f"| {f['setting']} | {f['optimizer']} | {f['rounds']} | {f['ratio']:.2f} × |" for f in found]
    return "\n".join([head, *rows])


def main() -> None:
    """Print how much longer a pack takes whose members have rates of their own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--optimizer", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    print(conditions("cpu"))
    found = [
        measured(setting, optimizer, options.rounds, options.data_dir)
        for setting in SETTINGS
        for optimizer in options.optimizer
    ]
    print(table(found))
    if options.json:
        text = json.dumps({"conditions": conditions("cpu"), "results": found}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
