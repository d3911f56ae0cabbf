"""The Python API: run, load, report, list and export."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import recipebench as rb
from recipebench.benchmarks import weights
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.training import plain_module, train
from recipebench.benchmarks.verbs import LIST_COLUMNS
from recipebench.datamodules import create
from recipebench.errors import RequestError
from recipebench.lightning_modules import MLP


def test_run_takes_a_mapping_and_returns_the_records(trained: Any, tmp_path: Path) -> None:
    frame = rb.run(trained.suite, store=trained.store, out=tmp_path / "report", quiet=True)

    assert isinstance(frame, pd.DataFrame)
    pd.testing.assert_frame_equal(frame, rb.load(trained.store, trained.suite).records)
    assert (tmp_path / "report" / "index.html").is_file()


def test_run_is_quiet_when_asked(trained: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rb.run(trained.suite, store=trained.store, out=tmp_path / "report", quiet=True)

    assert capfd.readouterr() == ("", "")


def test_a_suite_may_be_a_file_too(trained: Any) -> None:
    for suite in (trained.file, str(trained.file)):
        assert len(rb.load(trained.store, suite).records) == 12


def test_report_returns_the_page_and_leaves_the_store_alone(trained: Any, tmp_path: Path) -> None:
    before = Store(trained.store).digest()

    page = rb.report(trained.suite, store=trained.store, out=tmp_path / "report")

    assert page == tmp_path / "report" / "index.html"
    assert page.read_text(encoding="utf-8").startswith("<!")
    for name in ("summary.md", "records.csv", "records.parquet", "history.parquet"):
        assert (tmp_path / "report" / name).is_file()
    assert len(pd.read_parquet(tmp_path / "report" / "records.parquet")) == 12
    assert Store(trained.store).digest() == before


@pytest.mark.parametrize("call", ["load", "report", "export"])
def test_a_store_that_is_not_there_is_refused_and_not_made(call: str, trained: Any, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    calls: dict[str, Callable[[], object]] = {
        "load": lambda: rb.load(nowhere, trained.suite),
        "report": lambda: rb.report(trained.suite, store=nowhere),
        "export": lambda: rb.export("0", tmp_path / "w.safetensors", store=nowhere),
    }

    with pytest.raises(RequestError, match=r"Expected a store at .*nowhere, found none"):
        calls[call]()

    assert not nowhere.exists()


@pytest.mark.parametrize(
    "what", ["activation", "initializer", "regularizer", "optimizer", "models", "data", "suites"]
)
def test_list_describes_every_level(what: str) -> None:
    frame = rb.list(what)

    assert tuple(frame.columns) == LIST_COLUMNS
    assert len(frame) >= 2
    assert frame["name"].is_unique
    assert (frame[["name", "what it does", "source"]] != "").all(axis=None)


def test_list_refuses_what_it_does_not_know() -> None:
    with pytest.raises(RequestError, match=r"Unknown list 'optimiser'.* Did you mean 'optimizer'"):
        rb.list("optimiser")


# Export -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("regularizer", ["none", "early_stopping"])
def test_exported_weights_are_those_of_the_training(regularizer: str, trained: Any, tmp_path: Path) -> None:
    cell = trained.cell(data="digits", optimizer="momentum", regularizer=regularizer)
    neighbors = [c for c in trained.cells if c.data.name == "digits" and c.optimizer.name != "sgd"]
    results = {r.cell.id: r.track for r in train(neighbors, None, keep_best=True)}
    stopped = regularizer == "early_stopping"
    last, best = results[cell.id].module.state_dict(), results[cell.id].best_state
    expected = {
        "start": plain_module(cell, None).state_dict(),
        "end": best if stopped else last,
        "best": best,
    }

    for at, state in expected.items():
        path = tmp_path / at / "w.safetensors"
        weights.export(cell, at, path, None)

        found = load_file(path)
        assert found.keys() == state.keys()
        for name, value in found.items():
            assert torch.equal(value.view(torch.int32), state[name].contiguous().view(torch.int32)), (
                at,
                name,
            )
        with safe_open(path, "pt") as file:
            assert json.loads(file.metadata()["recipebench"]) == {"cell_id": cell.id, "at": at}


def test_exported_weights_fit_the_plain_module_and_score_as_recorded(trained: Any, tmp_path: Path) -> None:
    cell = trained.cell(data="digits", optimizer="adam", regularizer="none")
    path = rb.export(cell.id[:8], tmp_path / "w.safetensors", store=trained.store)
    plain = tmp_path / "plain.safetensors"
    weights.export(cell, "end", plain, None)
    module = MLP(in_features=64, hidden=[8], out_features=10)
    module.load_state_dict(load_file(path))
    data = create(cell.data, batch_size=64, seed=0)
    data.setup()
    with torch.no_grad():
        outputs = module.eval()(data.float_inputs(data.test.inputs[data.test.indices]))

    assert plain.read_bytes() == path.read_bytes()
    records = rb.load(trained.store, trained.suite).records.set_index("cell_id")
    correct = (outputs.argmax(1) == data.test.targets[data.test.indices]).double().mean()
    assert records.loc[cell.id, "test_accuracy"] == correct


def test_export_does_not_touch_the_callers_torch(trained: Any, tmp_path: Path) -> None:
    cell = trained.cell(optimizer="adam")
    torch.manual_seed(1)
    before = torch.get_rng_state()

    rb.export(cell.id, tmp_path / "w.safetensors", store=trained.store, at="start")

    assert torch.equal(torch.get_rng_state(), before)


def test_a_diverged_cell_has_weights_at_its_start_only(trained: Any, tmp_path: Path) -> None:
    cell = trained.cell(data="digits", optimizer="sgd")

    for at in ("end", "best"):
        with pytest.raises(RequestError, match=f"has no weights at its {at}: it diverged at step 2"):
            rb.export(cell.id, tmp_path / "w.safetensors", store=trained.store, at=at)
    rb.export(cell.id, tmp_path / "w.safetensors", store=trained.store, at="start")

    assert load_file(tmp_path / "w.safetensors").keys() == plain_module(cell, None).state_dict().keys()


@pytest.mark.parametrize(
    ("cell", "out", "at", "message"),
    [
        ("", "w.safetensors", "end", "whose id begins with ''; none does"),
        ("zz", "w.safetensors", "end", "whose id begins with 'zz'; none does"),
        (None, "w.pt", "end", "expected a name that ends in .safetensors, got "),
        (None, "w.safetensors", "middle", "Unknown moment 'middle'. Known: best, end, start."),
        (None, "file/w.safetensors", "end", "--out: expected a folder, but .*file is a file"),
        (None, "folder.safetensors", "end", "--out: expected a file, but .*folder.safetensors is a folder"),
    ],
)
def test_a_wrong_export_is_refused(
    cell: str | None, out: str, at: str, message: str, trained: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.safetensors").mkdir()
    cell_id = trained.cell(optimizer="adam").id if cell is None else cell

    with pytest.raises(RequestError, match=message):
        rb.export(cell_id, tmp_path / out, store=trained.store, at=at)


# What is imported ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "work",
    [
        "import recipebench.benchmarks.cli",
        "rb.list('optimizer')",
        "rb.list('suites')",
        "rb.load(store, suite)",
        "rb.report(suite, store=store, out=out)",
        "rb.lightning_modules.catalog, rb.datamodules.catalog",
    ],
)
def test_what_needs_no_torch_imports_none(work: str, trained: Any, tmp_path: Path) -> None:
    code = f"""
import sys
import recipebench as rb
import recipebench.lightning_modules.catalog, recipebench.datamodules.catalog
store, suite, out = {str(trained.store)!r}, {str(trained.file)!r}, {str(tmp_path / "out")!r}
{work}
print(sorted({{"torch", "pytorch_lightning", "lightning", "torchmetrics"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert done.stdout == "[]\n"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'runn'"):
        rb.runn  # noqa: B018
