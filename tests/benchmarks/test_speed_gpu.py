"""The measurement on graphics processors: every part once, tiny, on this processor; cells, table, imports."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.speed import gpu, gpu_cells, gpu_parts
from recipebench.benchmarks.speed.gpu_cells import FULL, TINY, core_cells
from recipebench.benchmarks.suite import load_suite

TINY_ON_CPU = ["--tiny", "--device", "cpu", "--workers", "0"]

REFUSED = ("wandb", "pydantic", "pooch", "beartype", "scikit_posthocs", "statsmodels", "vl_convert")
"""Packages that a machine which only trains need not have."""

WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ModuleNotFoundError(name + " is refused here", name=name)

sys.meta_path.insert(0, Refuse())
from recipebench.benchmarks.speed import gpu
sys.exit(gpu.main({words!r}))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All parts but JAX's, one file, two commands."""
    path = tmp_path_factory.mktemp("gpu") / "gpu.json"
    assert gpu.main([*TINY_ON_CPU, "--part", "floor", "packs", "alone", "--json", str(path)]) == 0
    assert gpu.main([*TINY_ON_CPU, "--part", "core", "tolerance", "--json", str(path)]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_the_cells_are_those_of_the_suite() -> None:
    expected = [replace(cell, device="gpu") for cell in expand(load_suite("core"))]

    assert core_cells("gpu") == expected
    assert len(gpu_cells.of_images(expected, FULL)) == 1000


def test_every_part_is_kept(measured: dict[str, Any]) -> None:
    parts = measured["parts"]

    assert set(parts) == {"floor", "packs", "alone", "core", "tolerance"}
    assert parts["packs"]["rows"][0]["done"] == parts["packs"]["planned"] == TINY.cells
    assert not parts["packs"]["rows"][0]["failed or tried again"]
    assert parts["core"]["rows"][0]["stored"] == parts["core"]["planned"] == 3 * 8
    assert 1 <= parts["alone"]["done"] <= 8
    assert all(part["conditions"]["tiny"] for part in parts.values())


def test_packed_and_alone_do_not_differ_on_a_processor(measured: dict[str, Any]) -> None:
    alike, seeds = measured["parts"]["tolerance"]["rows"]

    assert alike["cells"] >= 1
    assert alike["test_loss"]["largest"] == 0.0
    assert seeds["test_loss"]["largest"] > 0.0


def test_the_table_says_ratio_conditions_and_n(measured: dict[str, Any]) -> None:
    text = gpu.table(measured)

    packs = next(line for line in text.splitlines() if line.startswith("| packs"))
    assert " × resident, " in packs
    assert " × loader; goal 100 ×" in packs
    assert "n = 8 of 8 cells" in packs
    assert f"torch {torch.__version__.split('+')[0]}" in packs
    assert "says nothing about speed" in packs
    assert "share of the floor" in text
    assert "the whole of core" in text


def test_parts_of_other_machines_are_not_compared(measured: dict[str, Any]) -> None:
    other = json.loads(json.dumps(measured))
    other["parts"]["alone"]["conditions"]["device"] = "another"

    assert "× resident" not in gpu.table(other)


def test_what_is_not_finished_is_said_so(measured: dict[str, Any]) -> None:
    other = json.loads(json.dumps(measured))
    other["parts"]["core"]["rows"][0]["done"] -= 1

    assert "not finished in" in gpu.table(other)


def test_without_jax_the_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_parts.importlib.util, "find_spec", lambda name: None)
    request = gpu_parts.Request("cpu", TINY, 1.0)

    found = gpu_parts.measure_jax(request)

    found["conditions"] = gpu.conditions(request)
    assert "| the same ensemble in JAX | not measured |" in gpu.table({"parts": {"jax": found}})
    assert "JAX is not installed here" in gpu.table({"parts": {"jax": found}})


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed here")
def test_jax_trains_the_same_ensemble() -> None:
    request = gpu_parts.Request("cpu", TINY, 1e9)

    found = gpu_parts.measure_jax(request)

    assert [(row["optimizer"], row["precision"]) for row in found["rows"]] == [
        *(("sgd", "32-true"), ("sgd", "tf32"), ("adam", "32-true"), ("adam", "tf32")),
    ]
    within = {"sgd": 1e-5, "adam": 1e-3}  # Adam divides a gradient by its own size, rounding and all
    for row in found["rows"]:
        assert row["largest difference of losses in the first steps"] < within[row["optimizer"]]
        last = row["mean loss of the last epoch"]
        assert last["packs"] == pytest.approx(last["jax"], rel=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--graphs"], "--graphs: expected --device cuda, steps are not recorded on cpu."),
        (["--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu.main(["--device", "cpu", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics processor")
def test_a_machine_without_one_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    assert "expected a graphics processor that torch can use" in capsys.readouterr().err


def test_it_runs_without_what_only_suites_reports_and_trackers_need(tmp_path: Path) -> None:
    """In a worker process too: it inherits nothing from the hook, but imports the same modules."""
    path = tmp_path / "gpu.json"
    words = [*TINY_ON_CPU, "--part", *("floor", "packs", "core", "alone", "tolerance"), "--seconds", "1"]
    code = WITHOUT.format(refused=REFUSED, words=[*words, "--json", str(path)])

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert set(json.loads(path.read_text())["parts"]) == {"floor", "packs", "core", "alone", "tolerance"}
