"""Optimizers of one's own that do not keep what packs rely on: no declaration changes a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import recipebench as rb
from recipebench import plugins
from recipebench.benchmarks import cli, conformance_optimizers, executor, packs, training
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.own_packing import packing_of
from recipebench.benchmarks.runner import Options, make_plan, run, select
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite
from recipebench.errors import RequestError
from recipebench.reports.own_levels import sentences

OPTIMIZER = """
import torch
from recipebench.plugins import optimizer

@optimizer{declared}
class Mine(torch.optim.Optimizer):
    "What a test needs."

    def __init__(self, parameters, lr: float = 0.1, clip: float = 1e30, weight_decay: float = 0.0):
        super().__init__(parameters, {{"lr": lr, "clip": clip, "decay": weight_decay}})
        self.steps = 0

    @torch.no_grad()
    def step(self, closure=None):
        with torch.enable_grad():
            loss = closure() if closure else None
        self.steps += 1
        for group in self.param_groups:
            lr = group["lr"]
            for w in group["params"]:
                if w.grad is not None:
                    {step}
        return loss
"""

PLAIN = "w.sub_(w.grad, alpha=lr)"
NORMALIZED = "w.sub_(w.grad / (w.grad.norm() + 1e-8), alpha=lr)"
CLIPPED = 'w.sub_(w.grad * min(1.0, group["clip"] / (float(w.grad.norm()) + 1e-8)), alpha=lr)'
DECAYED = 'w.sub_(w.grad + group["decay"] * w.norm(), alpha=lr)'
LATE = "w.sub_(w.grad / (w.grad.norm() if self.steps > 30 else 1), alpha=lr)"
REPLACED = "w.data = w - lr * w.grad"
RELEASED = "w.sub_(w.grad, alpha=lr); w.grad = None"
BETWEEN = "w.sub_(w.grad, alpha=lr); w.div_((w != 0) | (w.grad != 0) | (w.numel() < 30))"

SUITE: dict[str, Any] = {
    "name": "watched",
    "data": [{"two_gaussians": {"n": 80}}],
    "model": {"mlp": {"hidden": [5]}},
    "matrix": {"optimizer": ["mine"]},
    "seeds": 3,
    "protocol": {"epochs": 4, "batch_size": 4},
}

Load = Callable[..., Path]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Write an optimizer with this step, and load it."""

    def written(step: str, declared: bool = True) -> Path:
        path = tmp_path / "mine.py"
        text = OPTIMIZER.format(declared="(elementwise=True)" if declared else "", step=step)
        path.write_text(text, encoding="utf-8")
        plugins.load(path)
        return path

    yield written
    plugins.unload()


def cells_of(suite: dict[str, Any]) -> list[Cell]:
    return list(expand(load_suite(suite)))


def histories(cells: Sequence[Cell]) -> list[list[dict[str, Any]]]:
    return [[{**row, "seconds": 0} for row in r.track.history] for r in training.train(cells, None)]


def test_a_false_declaration_is_refused_before_anything_is_trained(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, store, suite = load(NORMALIZED), tmp_path / "runs", tmp_path / "my.yaml"
    suite.write_text(yaml.safe_dump(SUITE), encoding="utf-8")
    message = (
        "optimizer mine: element-wise: non-element-wise update: it is declared element-wise, so expected the "
        "same bits on a slice of three members as on each parameter alone, got a difference of "
    )

    with pytest.raises(RequestError, match=message):
        rb.run(SUITE, store=store, plugin=path, quiet=True)
    for more in ([], ["--dry-run"], ["--pack-size", "1"]):
        arguments = ["run", str(suite), "--plugin", str(path), "--store", str(store), *more]
        monkeypatch.setattr("sys.argv", ["recipebench", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert (ended.value.code, said.count("\n")) == (2, 1)
        assert f"matrix.optimizer: {message}" in said
    assert not store.exists()


@pytest.mark.parametrize(
    ("step", "matrix"),
    [
        (CLIPPED, {"optimizer": [{"mine": {"clip": 0.5}}]}),
        (DECAYED, {"optimizer": ["mine"], "regularizer": ["weight_decay"]}),
    ],
)
def test_the_hyper_parameters_of_the_suite_are_those_that_count(
    step: str, matrix: dict[str, Any], load: Load
) -> None:
    load(step)

    assert len(cells_of(SUITE)) == 3
    with pytest.raises(RequestError, match="optimizer mine: element-wise: non-element-wise update"):
        cells_of(SUITE | {"matrix": matrix})


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (REPLACED, "shape: expected parameters to be changed in place, got new tensors"),
        ("w.grad = w.grad; loss = None", "closure: expected step.closure. to return the closure's loss, 3"),
    ],
)
def test_what_packs_rely_on_beside_is_refused_too(step: str, message: str, load: Load) -> None:
    load(step, declared=False)

    with pytest.raises(RequestError, match=f"optimizer mine: {message}"):
        cells_of(SUITE)


def test_an_exception_is_left_to_the_record(load: Load) -> None:
    load("raise ValueError('not today')")

    assert len(cells_of(SUITE)) == 3


def test_a_witness_in_the_pack_sees_what_few_steps_do_not_show(load: Load) -> None:
    load(LATE)
    cells = cells_of(SUITE)

    with pytest.raises(RequestError, match=r"got a difference of \S+ in \S+ in step 31 of training; leave"):
        training.train(cells, None)


def test_a_late_coupling_changes_no_record(load: Load, tmp_path: Path) -> None:
    load(LATE)
    suite, store, options = load_suite(SUITE | {"seeds": 2}), Store(tmp_path / "runs"), Options(workers=1)
    events: list[executor.Event] = []

    with store.lock():
        plan = make_plan(select(suite, store, options), store, options)
        records = run(plan, store, options, events.append).records

    assert [event.kind for event in events if event.kind in ("retried", "done")] == [
        "retried",
        "done",
        "done",
    ]
    assert any("in step 31 of training" in str(event.reason) for event in events)
    for cell, record in zip(cells_of(SUITE | {"seeds": 2}), records.to_dict("records"), strict=True):
        ((*_, last),) = histories([cell])
        assert (record["cell_id"], record["test_loss"]) == (cell.id, last["test_loss"])


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("step", [REPLACED, RELEASED, PLAIN])
def test_parameters_and_gradients_stay_views_of_the_stack(
    step: str, declared: bool, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance_optimizers, "PROMISES", ())
    load(step, declared)
    cells = cells_of(SUITE)

    if step == REPLACED:
        with pytest.raises(RequestError, match="optimizer mine: expected parameters to be changed in place"):
            training.train(cells, None)
    else:
        assert histories(cells) == [history for cell in cells for history in histories([cell])]


def test_what_happens_between_parameters_does_not_make_a_member_diverge(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance_optimizers, "PROMISES", ())
    load(BETWEEN)

    with pytest.raises(RequestError, match="got numbers that are not finite where value and gradient are 0"):
        training.train(cells_of(SUITE), None)


@pytest.mark.parametrize("schedule", ["staircase", "plateau"])
def test_a_witness_follows_the_schedule_beside_other_optimizers(schedule: str, load: Load) -> None:
    load(PLAIN)
    matrix = {"optimizer": ["mine", "sgd", {"mine": {"lr": 0.5}}], "schedule": [schedule]}
    cells = cells_of(SUITE | {"matrix": matrix, "seeds": 2})

    assert {packs.signature(cell) for cell in cells} == {packs.signature(cells[0])}
    assert histories(cells) == [history for cell in cells for history in histories([cell])]


def test_the_report_is_told_how_levels_go_into_packs(load: Load) -> None:
    import pandas as pd

    load(PLAIN, declared=False)
    cells = cells_of(SUITE | {"matrix": {"optimizer": ["mine", "sgd"]}})
    own = [cell for cell in cells if cell.plugins]
    records = pd.DataFrame([{"cell_id": cell.id, **cell.columns()} for cell in cells])

    packing = packing_of(cells)
    assert packing is not None
    assert (packing.elementwise, packing.alone) == (frozenset(), {})
    (said,) = sentences(records, packing)
    assert said.startswith(
        f"Optimizer mine (3 of 6 cells) is of the plug-in mine.py, SHA-256 {own[0].plugins[0]}"
    )
    assert said.endswith("not declared element-wise: each member of a pack has parameters of its own.")
    assert packing_of([cell for cell in cells if not cell.plugins]) is None
    assert executor.training_request(packs.Pack(tuple(own)), None)["plugins"]
