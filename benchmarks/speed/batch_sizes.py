"""Throughput and memory of a training step by batch size, a perceptron 784-128-64-10 with plain SGD.

`python -m recipebench.benchmarks.speed.batch_sizes` trains on batches of 1, 2, 4 … 4096 samples in turn,
several rounds, and prints medians of the samples a second, and the bytes that a step must keep from its
forward pass for its backward pass. The bytes are counted, not sampled: every storage that autograd saves,
once. They follow an affine law of the batch size, whose fit is printed with its R². Every size must
have learned something, or there is no table.

The elasticity beside a size is that of the throughput, between the size before and this one: 1 where the
time of a step is overhead and does not depend on its samples, 0 where every sample costs the same.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipebench.benchmarks.environment import cpu_class
from recipebench.lightning_modules import MLP

HIDDEN = (128, 64)
"""Hidden widths, between 784 inputs and 10 classes."""

LARGEST = 4096
"""The largest batch, unless another is asked for."""


class Affine(NamedTuple):
    """A line through points: y = intercept + slope x, and the share of the variance that it explains."""

    intercept: float
    slope: float
    r2: float


class Step:
    """A training step on one batch: forward pass, cross-entropy, backward pass, plain SGD.

    Start and batch are the same in every call, and the rate is small, so that every step lowers the loss.

    Args:
        batch_size: samples in the batch, drawn at random, their classes too.
        device: where to train.
        hidden: widths of the hidden layers.
    """

    def __init__(self, batch_size: int, device: str = "cpu", hidden: tuple[int, ...] = HIDDEN) -> None:
        generator = torch.Generator().manual_seed(batch_size)
        self.batch_size = batch_size
        self.device = torch.device(device)
        self.inputs = torch.rand(batch_size, 784, generator=generator).to(self.device)
        self.targets = torch.randint(10, (batch_size,), generator=generator).to(self.device)
        self.network: nn.Module = MLP(in_features=784, hidden=hidden, out_features=10, init_seed=0).network
        self.network.to(self.device)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01)

    def loss(self) -> Tensor:
        """Return the mean cross-entropy of the batch."""
        return F.cross_entropy(self.network(self.inputs), self.targets)

    def __call__(self) -> None:
        """Change the weights once."""
        self.optimizer.zero_grad()
        self.loss().backward()
        self.optimizer.step()

    def seconds(self, at_least: float) -> float:
        """Return the mean time of a step, over as many steps as fill `at_least` seconds, after one."""
        self()
        self._wait()
        start, count = time.perf_counter(), 0
        while not count or time.perf_counter() - start < at_least:
            self()
            self._wait()
            count += 1
        return (time.perf_counter() - start) / count

    def check(self, first: float) -> None:
        """Raise if the loss is not below what it was at `first`."""
        last = self.loss().item()
        if not last < first:
            raise AssertionError(
                f"Batches of {self.batch_size} learned nothing: loss {first:.4f} before, {last:.4f} after."
            )

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def saved_bytes(compute: Callable[[], Tensor]) -> int:
    """Count the bytes that autograd holds once `compute` has returned, ready for the backward pass.

    Args:
        compute: a forward pass.

    Returns:
        The sizes of all storages of which a tensor was saved, each once: inputs, activations, and the
        weights that gradients of activations need. This is the peak, as nothing is freed before.

    Example:
        >>> x = torch.ones(3, requires_grad=True)
        >>> saved_bytes(lambda: (x * x).sum())
        12
    """
    held: dict[int, torch.UntypedStorage] = {}  # held, so that no address is given out twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = compute()
    del result
    return sum(storage.nbytes() for storage in held.values())


def affine_fit(x: Sequence[float], y: Sequence[float]) -> Affine:
    """Fit y = intercept + slope x by least squares.

    Args:
        x: at least two different numbers.
        y: as many.

    Example:
        >>> [round(number, 6) for number in affine_fit([1, 2, 3], [5, 7, 9])]
        [3.0, 2.0, 1.0]
    """
    across, up = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    centered = across - across.mean()
    slope = float(centered @ up / (centered @ centered))
    intercept = float(up.mean() - slope * across.mean())
    residual, total = up - intercept - slope * across, up - up.mean()
    return Affine(intercept, slope, 1 - float(residual @ residual) / float(total @ total))


def sizes(largest: int) -> list[int]:
    """Return 1, 2, 4 … up to `largest`.

    Example:
        >>> sizes(10)
        [1, 2, 4, 8]
    """
    return [2**k for k in range(largest.bit_length())]


def memory(batch_sizes: Sequence[int], device: str = "cpu") -> list[int]:
    """Return the bytes saved for the backward pass, by batch size."""
    return [saved_bytes(Step(size, device).loss) for size in batch_sizes]


def throughput(
    batch_sizes: Sequence[int], *, rounds: int, seconds: float, device: str = "cpu"
) -> list[list[float]]:
    """Return the samples a second of each size in each round, all sizes in turn in every round.

    Args:
        batch_sizes: what is compared.
        rounds: how often.
        seconds: for one size in one round, at least.
        device: where to train.

    Raises:
        AssertionError: a size has not learned.
    """
    steps = [Step(size, device) for size in batch_sizes]
    before = [step.loss().item() for step in steps]
    found: list[list[float]] = [[] for _ in steps]
    for _ in range(rounds):
        for step, rates in zip(steps, found, strict=True):
            rates.append(step.batch_size / step.seconds(seconds))
    for step, first in zip(steps, before, strict=True):
        step.check(first)
    return found


def measured(batch_sizes: Sequence[int], *, rounds: int, seconds: float, device: str) -> dict[str, Any]:
    """Return medians of the throughput, elasticities, bytes and their affine fit."""
    rates = throughput(batch_sizes, rounds=rounds, seconds=seconds, device=device)
    medians = [statistics.median(values) for values in rates]
    kept = memory(batch_sizes, device)
    return {
        "device": device,
        "rounds": rounds,
        "batch sizes": list(batch_sizes),
        "samples a second": medians,
        "samples a second of the rounds": rates,
        "elasticity": [None, *elasticities(batch_sizes, medians)],
        "bytes": kept,
        "fit": affine_fit(batch_sizes, kept)._asdict(),
    }


def elasticities(batch_sizes: Sequence[int], rates: Sequence[float]) -> list[float]:
    """Return d log(rate) / d log(batch size) between each size and the next.

    Example:
        >>> [round(e, 9) for e in elasticities([1, 2, 4], [100.0, 200.0, 200.0])]
        [1.0, 0.0]
    """
    logs = [(math.log(b), math.log(r)) for b, r in zip(batch_sizes, rates, strict=True)]
    return [(y - v) / (x - u) for (u, v), (x, y) in itertools.pairwise(logs)]


def table(found: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    head = ["batch size", "samples a second", "times batch size 1", "elasticity", "KiB saved for backward"]
    lines = [" | ".join(head), " | ".join(["---:"] * len(head))]
    rows = zip(*(found[n] for n in ("batch sizes", "samples a second", "elasticity", "bytes")), strict=True)
    for size, rate, elasticity, kept in rows:
        times = rate / found["samples a second"][0]
        shown = "" if elasticity is None else f"{elasticity:.2f}"
        lines.append(f"{size:,} | {rate:,.0f} | {times:.1f} × | {shown} | {kept / 1024:,.1f}")
    return "\n".join(f"| {line} |" for line in lines)


def law(fit: dict[str, float]) -> str:
    """Write the affine law of the memory."""
    return f"bytes = {fit['intercept']:,.0f} + {fit['slope']:,.1f} × batch size, R² = {fit['r2']:.6f}"


def conditions(device: str) -> str:
    """Return machine and versions in one line."""
    where = torch.cuda.get_device_name() if device == "cuda" else cpu_class()
    threads = torch.get_num_threads()
    return (
        f"{where}, {platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"{threads} thread{'s' if threads > 1 else ''}, float32"
    )


def main() -> None:
    """Print throughput and memory by batch size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--largest", type=int, default=LARGEST, help="largest batch size; halved down to 1")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all sizes in turn")
    parser.add_argument("--seconds", type=float, default=0.1, help="for one size in one round, at least")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(conditions(options.device))
    found = measured(
        sizes(options.largest), rounds=options.rounds, seconds=options.seconds, device=options.device
    )
    print(table(found))
    print(law(found["fit"]))
    if options.json:
        text = json.dumps({"conditions": conditions(options.device), "results": found}, indent=2)
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
