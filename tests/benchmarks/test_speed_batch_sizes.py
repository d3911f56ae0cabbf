"""Memory is affine in the batch size, counted by hand; throughput has a figure for every size."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]

from recipebench.benchmarks.speed import batch_sizes
from recipebench.benchmarks.speed.batch_sizes import Step, affine_fit, saved_bytes


def test_the_bytes_are_those_counted_by_hand() -> None:
    """A sample leaves its pixels, two hidden layers, ten log-probabilities (4 bytes) and its class (8).

    Beside them stand the weights of the second and third layer, which carry gradients back, and the
    scalar by which the sum of the losses is divided.
    """
    sample = 4 * (784 + 128 + 64 + 10) + 8
    fixed = 4 * (128 * 64 + 64 * 10) + 4

    assert batch_sizes.memory([1, 3, 128]) == [fixed + sample * size for size in (1, 3, 128)]


def test_memory_is_affine_in_the_batch_size() -> None:
    sizes = batch_sizes.sizes(4096)

    fit = affine_fit(sizes, batch_sizes.memory(sizes))

    assert sizes == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]
    assert fit.r2 > 1 - 1e-12
    assert fit.intercept == pytest.approx(4 * (128 * 64 + 64 * 10) + 4, rel=1e-6)
    assert fit.slope == pytest.approx(4 * (784 + 128 + 64 + 10) + 8, rel=1e-9)


def test_a_storage_counts_once_and_only_what_is_saved_counts() -> None:
    x = torch.ones(10, requires_grad=True)

    assert saved_bytes(lambda: (x * x).sum()) == 40
    assert saved_bytes(lambda: (x[:5] * x[5:]).sum()) == 40
    assert saved_bytes(lambda: (x + 1).sum()) == 0
    assert saved_bytes(lambda: x.exp().exp().sum()) == 80
    with torch.no_grad():
        assert saved_bytes(lambda: (x * x).sum()) == 0


def test_the_fit_is_that_of_scipy() -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=20), draw.normal(size=20)

    fit, reference = affine_fit(x.tolist(), y.tolist()), stats.linregress(x, y)

    assert fit.slope == pytest.approx(reference.slope, rel=1e-9)
    assert fit.intercept == pytest.approx(reference.intercept, rel=1e-9)
    assert fit.r2 == pytest.approx(reference.rvalue**2, rel=1e-9)


def test_every_size_has_a_figure_in_every_round() -> None:
    found = batch_sizes.measured([1, 4, 16], rounds=3, seconds=0.0, device="cpu")

    assert [len(rates) for rates in found["samples a second of the rounds"]] == [3, 3, 3]
    assert all(rate > 0 for rates in found["samples a second of the rounds"] for rate in rates)
    assert found["samples a second"] == [sorted(r)[1] for r in found["samples a second of the rounds"]]
    assert found["elasticity"][0] is None
    assert len(found["elasticity"]) == 3


@pytest.mark.parametrize("size", [1, 2, 8, 64])
def test_every_step_lowers_the_loss(size: int) -> None:
    """However many steps fit into a round, a size that trains passes the check."""
    step, again = Step(size), Step(size)
    losses = [step.loss().item()]
    for _ in range(40):
        step()
        losses.append(step.loss().item())

    assert again.loss().item() == losses[0]
    assert losses == sorted(losses, reverse=True)


def test_a_size_that_learned_nothing_is_noticed() -> None:
    step = Step(8)
    before = step.loss().item()
    step.seconds(0.0)
    step.check(before)

    with pytest.raises(AssertionError, match=r"Batches of 8 learned nothing: loss 0\.0000 before"):
        step.check(0.0)


def test_the_table_by_hand() -> None:
    figures = {
        "batch sizes": [1, 2048],
        "samples a second": [1000.0, 250000.0],
        "elasticity": batch_sizes.elasticities([1, 2048], [1000.0, 2048000.0]),
        "bytes": [1024, 3 * 1024**2],
    }
    figures["elasticity"].insert(0, None)  # type: ignore[arg-type]

    assert batch_sizes.table(figures).splitlines()[2:] == [
        "| 1 | 1,000 | 1.0 × |  | 1.0 |",
        "| 2,048 | 250,000 | 250.0 × | 1.00 | 3,072.0 |",
    ]
    assert batch_sizes.law({"intercept": 35332.0, "slope": 3952.0, "r2": 1.0}) == (
        "bytes = 35,332 + 3,952.0 × batch size, R² = 1.000000"
    )


def test_the_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    options = ["--largest", "4", "--rounds", "1", "--seconds", "0", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["batch_sizes", *options])

    batch_sizes.main()

    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("1 thread, float32")
    assert len([line for line in printed if line.startswith("| ")]) == 5
    assert printed[-1].startswith("bytes = ")
    assert json.loads(out.read_text())["results"]["fit"]["slope"] == pytest.approx(3952)
