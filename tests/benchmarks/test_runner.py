"""What a run plans, refuses, leaves out, retries and writes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import recipebench as rb
from recipebench.benchmarks import executor, runner
from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.environment import build, describe
from recipebench.benchmarks.results import collect
from recipebench.benchmarks.runner import Options, make_plan, select
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import Suite, load_suite
from recipebench.datamodules import fetch
from recipebench.datamodules.catalog import FACTS
from recipebench.errors import RequestError

Suites = Callable[..., Suite]

CLOSED = "http://127.0.0.1:9/"
"""Nothing listens there."""


@pytest.fixture
def no_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without MNIST and without a network."""
    monkeypatch.setitem(FACTS, "mnist", replace(FACTS["mnist"], mirrors=(CLOSED,)))
    monkeypatch.setattr(fetch, "RETRIES", 0)
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv(fetch.ENVIRONMENT, raising=False)


def suite_of(**changes: Any) -> Suite:
    given = {
        "name": "small",
        "data": [{"synthetic_regression": {"n": 60}}],
        "matrix": {"model": ["linear_regression"], "optimizer": ["sgd", "adam"]},
        "seeds": 2,
        "protocol": {"epochs": 1, "batch_size": 10},
    }
    return load_suite({**given, **changes})


CLASSIFIERS: Mapping[str, Any] = {"matrix": {"model": ["softmax_regression"]}, "seeds": 1}


def plan_of(suite: Suite, store: Store, options: Options) -> runner.Plan:
    return make_plan(select(suite, store, options), store, options)


# Options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["workers", "pack_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
def test_counts_are_whole_numbers_above_zero(name: str, value: object) -> None:
    with pytest.raises(RequestError) as refused:
        Options(**{name: value})  # type: ignore[arg-type]

    assert str(refused.value) == f"{name}: expected a whole number of at least 1, got {value!r}."


def test_there_is_one_worker_a_core_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "usable_cores", lambda: 5)

    assert (Options().processes, Options(workers=3).processes) == (5, 3)


# Selecting and planning ---------------------------------------------------------------------------


def test_a_plan_holds_what_the_store_lacks(trained: Any, tmp_path: Path) -> None:
    store = Store(trained.store)
    larger = load_suite({**trained.suite, "seeds": 3})

    plan = plan_of(larger, store, Options(workers=1))

    assert plan.cached == {cell.id for cell in trained.cells}
    todo = {cell.id for pack in plan.packs for cell in pack.cells}
    assert todo == {cell.id for cell in expand(larger)} - plan.cached
    assert plan.cells == tuple(expand(larger))


def test_data_that_cannot_be_had_are_refused_and_nothing_is_written(no_mnist: None, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    suite = suite_of(data=["digits", "mnist"], **CLASSIFIERS)

    with pytest.raises(RequestError) as refused:
        rb.run(suite, store=tmp_path / "runs", data_dir=folder)

    message = str(refused.value)
    assert message.startswith("MNIST/raw/train-images-idx3-ubyte.gz is missing. Looked in: ")
    for tried in (str(folder), str(tmp_path / "cache"), CLOSED, "--data-dir FOLDER"):
        assert tried in message
    assert not (tmp_path / "runs").exists()


def test_corrupt_data_are_refused_and_nothing_is_written(no_mnist: None, tmp_path: Path) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(b"half a file")

    with pytest.raises(RequestError, match=r"is corrupt: expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}"):
        rb.run(suite_of(data=["mnist"], **CLASSIFIERS), store=tmp_path / "runs", data_dir=tmp_path / "data")

    assert not (tmp_path / "runs").exists()
    assert (raw / "train-images-idx3-ubyte.gz").read_bytes() == b"half a file"


def test_data_of_finished_cells_need_not_be_there(no_mnist: None, tmp_path: Path) -> None:
    suite = suite_of(data=["mnist"], **CLASSIFIERS)
    store = Store(tmp_path / "runs")
    rows = [{"cell_id": cell.id, "status": "ok", **build()} for cell in expand(suite)]
    with store.lock():
        store.write(rows, [], store.begin_run(describe()))

    plan = plan_of(suite, store, Options())

    assert (len(plan.cells), plan.packs) == (1, ())


def test_what_cannot_be_had_is_left_out_when_asked(no_mnist: None, tmp_path: Path) -> None:
    suite = suite_of(data=["digits", "mnist"], device=["cpu", "gpu"], **CLASSIFIERS)
    options = Options(skip_unavailable=True)

    plan = plan_of(suite, Store(tmp_path / "runs"), options)

    assert [(cell.data.name, cell.device) for cell in plan.cells] == [("digits", "cpu")]
    gpu, mnist = plan.left_out.values()
    assert gpu == "device gpu is not available: no graphics processor is found here (nvidia-smi lists none)"
    assert mnist.startswith("MNIST/raw/train-images-idx3-ubyte.gz is missing.")


def test_finished_cells_stay_in_the_plan_though_their_device_is_not_here(tmp_path: Path) -> None:
    suite = suite_of(device=["cpu", "gpu"])
    store = Store(tmp_path / "runs")
    remote = next(cell for cell in expand(suite) if cell.device == "gpu")
    with store.lock():
        row = {"cell_id": remote.id, "status": "ok", **build()}
        store.write([row], [], store.begin_run(describe()))

    plan = plan_of(suite, store, Options(skip_unavailable=True))

    assert [cell for cell in plan.cells if cell.device == "gpu"] == [remote]
    assert plan.cached == {remote.id}


def test_nothing_left_to_train_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^Nothing is left to train: device gpu is not available"):
        select(suite_of(device="gpu"), Store(tmp_path / "runs"), Options(skip_unavailable=True))


def test_planning_without_fetching_looks_at_no_data(no_mnist: None, tmp_path: Path) -> None:
    suite = suite_of(data=["mnist"], **CLASSIFIERS)

    selection = select(suite, Store(tmp_path / "runs"), Options(), fetch=False)

    assert len(selection.cells) == 1
    assert not (tmp_path / "cache").exists()


# Builds -------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(trained: Any, tmp_path: Path) -> Store:
    """The trained store as another version of torch would have written it."""
    store = Store(tmp_path / "elsewhere")
    rows = [row | {"torch": "1.0.0"} for row in rows_of(Store(trained.store).records())]
    with store.lock():
        store.write(rows, [], store.begin_run(describe()))
    return store


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def test_records_of_another_build_are_refused(trained: Any, elsewhere: Store) -> None:
    before = elsewhere.digest()

    with pytest.raises(RequestError) as refused:
        rb.run(trained.suite, store=elsewhere.path)

    message = str(refused.value)
    assert "has cells of this suite from torch 1.0.0 on " in message
    assert f"here is torch {build()['torch']} on " in message
    assert "Give --mix to use both side by side, or another --store." in message
    assert elsewhere.digest() == before


def test_records_of_another_build_are_used_when_asked(
    trained: Any, elsewhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "COMMAND", ("/nowhere/worker",))  # nothing may be trained

    records = rb.run(trained.suite, store=elsewhere.path, mix=True, quiet=True)

    assert set(records["torch"]) == {"1.0.0"}


def test_another_suite_may_use_the_store_of_another_build(elsewhere: Store) -> None:
    plan = plan_of(suite_of(), elsewhere, Options())

    assert sum(len(pack.cells) for pack in plan.packs) == 4


# Running ------------------------------------------------------------------------------------------


def test_workers_pack_size_and_order_change_no_bit(trained: Any, tmp_path: Path) -> None:
    expected = Store(trained.store).digest()
    matrix = {name: levels[::-1] for name, levels in reversed(trained.suite["matrix"].items())}
    backwards = {**trained.suite, "name": "backwards", "data": trained.suite["data"][::-1], "matrix": matrix}

    rb.run(backwards, store=tmp_path / "two", workers=2, pack_size=3, quiet=True)
    rb.run(trained.suite, store=tmp_path / "alone", workers=2, pack_size=1, quiet=True)

    assert Store(tmp_path / "two").digest() == expected
    assert Store(tmp_path / "alone").digest() == expected


def test_failed_cells_are_rows_and_are_trained_again_by_the_next_run(
    worker_script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    suite = suite_of()
    stock = executor.COMMAND
    worker_script("if any(cell.seed == 1 for cell in cells): raise ArithmeticError('no [luck] today')")

    first = rb.run(suite, store=tmp_path / "runs", workers=1, quiet=True)

    assert list(first["status"]) == ["ok", "failed", "ok", "failed"]
    failed = first[first["status"] == "failed"]
    assert set(failed["reason"]) == {"ArithmeticError: no [luck] today"}
    assert failed["test_mse"].isna().all()
    assert "traceback" not in first
    kept = Store(tmp_path / "runs").records(failed["cell_id"])
    assert all(text.startswith("Traceback (most recent call last)") for text in kept["traceback"])

    monkeypatch.setattr(executor, "COMMAND", stock)
    second = rb.run(suite, store=tmp_path / "runs", workers=1, quiet=True)

    assert list(second["status"]) == ["ok"] * 4
    rb.run(suite, store=tmp_path / "undisturbed", workers=1, quiet=True)
    assert Store(tmp_path / "runs").digest() == Store(tmp_path / "undisturbed").digest()


def test_a_pack_is_in_the_store_before_it_is_announced(trained: Any, tmp_path: Path) -> None:
    store, options = Store(tmp_path / "runs"), Options(workers=1, pack_size=2)
    seen: list[bool] = []

    with store.lock():
        plan = plan_of(suite_of(), store, options)

        def watch(event: executor.Event) -> None:
            if event.kind == "done":
                seen.append({cell.id for cell in event.pack.cells} <= set(Store(store.path).cached()))

        results = runner.run(plan, store, options, watch)

    assert seen == [True, True]
    assert results.counts == {"ok": 4, "diverged": 0, "failed": 0, "missing": 0}
    environment = store.environment(plan.cells[0].id)
    assert (environment["workers"], environment["threads"]) == (1, 1)


def test_results_can_be_collected_while_another_process_holds_the_store(trained: Any) -> None:
    with Store(trained.store).lock():
        results = collect(load_suite(trained.suite), Store(trained.store))

    assert len(results.records) == len(trained.cells)
