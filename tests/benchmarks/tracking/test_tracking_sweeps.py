"""Sweeps: the file that is generated, and what the agent of one runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.speed.wandb_server import KEY, StandIn
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.tracking.agent import run_chosen
from recipebench.benchmarks.tracking.sweeps import chosen_cell
from recipebench.benchmarks.tracking.target import Tracking
from recipebench.errors import RequestError

SUITE: dict[str, Any] = {
    "name": "swept",
    "data": ["digits", "synthetic_regression"],
    "matrix": {
        "activation": ["relu", {"maxout": {"pieces": 3}}],
        "optimizer": [{"sgd": {"lr": 0.5}}, "adam"],
    },
    "exclude": [{"activation": "relu", "optimizer": "adam"}],
    "seeds": 2,
}


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return list(expand(load_suite(SUITE)))


def test_the_file_spans_what_the_cells_differ_in(command: Any, tmp_path: Path) -> None:
    suite, out = tmp_path / "swept.yaml", tmp_path / "sweep.yaml"
    suite.write_text(yaml.safe_dump(SUITE))

    done = command("sweep", suite, "--out", out, "--store", "there", "--method", "random")
    found = yaml.safe_load(out.read_text())

    assert done.out == f"Sweep: {out}. Next: wandb sweep {out}\n"
    assert (found["name"], found["method"]) == ("swept", "random")
    assert found["metric"] == {"name": "test_accuracy_at_best", "goal": "maximize"}
    assert {name: axis["values"] for name, axis in found["parameters"].items()} == {
        "data": ["digits", "synthetic_regression"],
        "activation": ["relu", "maxout(pieces=3)"],
        "optimizer": ["sgd(lr=0.5)", "adam"],
        "seed": [0, 1],
    }
    assert found["command"][3:] == [
        "recipebench",
        "agent",
        str(suite),
        "--store",
        "there",
        "--choose",
        "${args_json}",
    ]


def test_an_unknown_method_is_refused(command: Any, tmp_path: Path) -> None:
    done = command("sweep", "quick", "--out", tmp_path / "sweep.yaml", "--method", "gird")

    assert done.code == 2
    assert "--method: Unknown method 'gird'. Known: bayes, grid, random. Did you mean 'grid'?" in done.err


def test_every_cell_can_be_chosen_and_an_excluded_one_is_none(cells: list[Cell]) -> None:
    chosen = [chosen_cell(cells, json.dumps(choice)) for choice in _grid()]

    assert sorted(cell.id for cell in chosen if cell) == sorted(cell.id for cell in cells)
    assert len(chosen) - len(cells) == 4


def _grid() -> Iterator[dict[str, Any]]:
    for data in ("digits", "synthetic_regression"):
        for activation in ("relu", "maxout(pieces=3)"):
            for optimizer in ("sgd(lr=0.5)", "adam"):
                for seed in (0, 1):
                    yield {"data": data, "activation": activation, "optimizer": optimizer, "seed": seed}


def test_a_hyper_parameter_changes_the_level(cells: list[Cell]) -> None:
    choice = {
        "data": "digits",
        "activation": "relu",
        "optimizer": "sgd(lr=0.5)",
        "seed": 1,
        "optimizer.lr": 0.25,
    }
    changed = chosen_cell(cells, json.dumps(choice))

    assert changed is not None
    assert changed.optimizer is not None
    assert changed.optimizer.parameters["lr"] == 0.25
    assert changed.id not in {cell.id for cell in cells}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("{", "--choose: expected JSON, got '{'"),
        ("[1]", "--choose: expected names and values, got '[1]'."),
        ('{"data": "digit"}', "--choose: data: Unknown value 'digit'. Known: digits, synthetic_regression."),
        ('{"date": "digits"}', "--choose: date: Unknown value 'digits'"),
        ('{"data": "digits"}', "--choose: expected one cell, got 6; choose more, such as the seed."),
    ],
)
def test_a_wrong_choice_is_refused(cells: list[Cell], choice: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        chosen_cell(cells, choice)

    assert message in str(refused.value)


def test_an_agent_writes_the_run_of_its_sweep(
    offline: Any, tools: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    store = Path(shutil.copytree(offline.store, tmp_path / "runs", ignore=shutil.ignore_patterns("tracking")))
    chosen = {"activation": "relu", "optimizer": "adam"}
    given = create_sweep_command_args({"args": {name: {"value": value} for name, value in chosen.items()}})
    monkeypatch.setenv("HOME", str(home))
    with StandIn() as server:
        variables = {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": "r1"}
        for name, value in {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": server.url, **variables}.items():
            monkeypatch.setenv(name, value)
        (text,) = given["args_json"]
        outcome = run_chosen(
            load_suite(offline.suite), text, Store(store), Tracking(), lambda text: None, variables=variables
        )

    records, histories = offline.frames()
    (cell,) = [c for c in offline.cells if (c.activation.name, c.optimizer.name) == ("relu", "adam")]
    assert (outcome.written, outcome.uploaded, outcome.left) == (1, 1, 0)
    assert set(server.runs) == {"r1"}
    assert server.runs["r1"].fields["sweep"] == "s1"
    assert tools.same([tools.own(row) for row in server.runs["r1"].history], histories[cell.id])
    assert tools.same(tools.own(server.runs["r1"].summary), records[cell.id])
    assert server.refused == []


def test_an_excluded_combination_ends_as_a_run_that_says_so(
    home: Path, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    choice = {"data": "digits", "activation": "relu", "optimizer": "adam", "seed": 0}
    tracking, store = Tracking(mode="offline"), Store(tmp_path / "runs")

    outcome = run_chosen(
        load_suite(SUITE),
        json.dumps(choice),
        store,
        tracking,
        lambda text: None,
        variables={"WANDB_RUN_ID": "r2"},
    )

    (folder,) = (tmp_path / "runs" / "tracking" / "wandb").glob("offline-run-*-r2")
    assert outcome.written == 1
    assert tools.read_run(folder).summary["status"] == "excluded"
