"""The matrix tracked with a key: what a server receives; servers that hang, refuse or die."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.executor import Event
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.speed.wandb_server import KEY, StandIn
from recipebench.benchmarks.tracking import tracker as tracker_module
from recipebench.benchmarks.tracking.target import Tracking
from recipebench.benchmarks.tracking.tracker import Tracker


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with StandIn() as found:
        yield found


@pytest.fixture(scope="module")
def online(server: StandIn, recipebench: Any, tools: Any, home: Path, tmp_path_factory: Any) -> Any:
    """A suite that was tracked while it trained, with a key."""
    folder = tmp_path_factory.mktemp("online")
    file = folder / "live.yaml"
    file.write_text(yaml.safe_dump(tools.LIVE))
    store = folder / "runs"
    done = recipebench(
        "run", file, "--store", store, "--workers", 1, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url
    )
    assert done.returncode == 0, done.stderr
    return tools.Tracked(tools.LIVE, store, done.stdout + done.stderr, home)


def test_the_server_receives_every_row_and_record(online: Any, server: StandIn, tools: Any) -> None:
    records, histories = online.frames()

    assert server.refused == []
    assert set(server.runs) == set(records) | {"suite-live"}
    for cell_id, record in records.items():
        run = server.runs[cell_id]
        assert tools.same([tools.own(row) for row in run.history], histories[cell_id])
        assert tools.same(tools.own(run.summary), record)
        assert run.fields["groupName"] == "live"
        assert run.fields["jobType"] == "digits"
        assert f"activation:{record['activation']}" in run.fields["tags"]
        assert run.config["optimizer.lr"] == record["optimizer.lr"]
    assert {run.completions for run in server.runs.values()} == {1}


def test_the_server_receives_report_table_figures_and_artifact(online: Any, server: StandIn) -> None:
    out = online.store / "reports" / "live"
    received = set(server.files.values())

    assert server.artifacts["live-results"]["committed"]
    for name in ("records.parquet", "history.parquet"):
        assert server.files[f"artifacts/live-results/{name}"] == (out / name).read_bytes()
    assert server.files["artifacts/live-results/suite.yaml"] == yaml.safe_dump(online.suite).encode()
    assert (out / "index.html").read_bytes() in received
    assert {figure.read_bytes() for figure in (out / "figures").glob("*.svg")} <= received
    assert any("media/table/records" in name for name in server.files)


def test_the_key_is_in_no_file_and_no_output(online: Any) -> None:
    looked_at = [path for path in online.store.parent.rglob("*") if path.is_file()]
    looked_at += [path for path in online.home.rglob("*") if path.is_file()]

    assert any(path.suffix == ".log" for path in looked_at)
    assert [path for path in looked_at if KEY.encode() in path.read_bytes()] == []
    assert KEY not in online.printed


def test_uploaded_runs_are_not_uploaded_again(online: Any, server: StandIn, track: Any) -> None:
    before = server.requests

    _, printed = track(online.store, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)

    assert "W&B: 0 cells written, 4 before." in printed
    assert {run.completions for run in server.runs.values()} == {1}
    assert server.requests - before <= 1  # whether it answers


def test_a_server_that_hangs_costs_no_result_and_a_later_sync_completes_once(
    offline: Any, tools: Any, track: Any, tmp_path: Path
) -> None:
    store = _copy(offline, tmp_path)
    with StandIn(hang=True) as hanging:
        code, printed = track(store, WANDB_API_KEY=KEY, WANDB_BASE_URL=hanging.url)

    assert code == 0, printed
    assert "W&B: 4 cells written, 0 before." in printed
    assert "W&B: 5 runs wait in" in printed
    with StandIn() as server:
        for _ in range(2):
            _sync(store, tmp_path, server.url)
        _, histories = offline.frames()
        assert {run.completions for run in server.runs.values()} == {1}
        assert len(server.runs) == 5
        for cell_id, rows in histories.items():
            assert tools.same([tools.own(row) for row in server.runs[cell_id].history], rows)


def _sync(store: Path, home: Path, url: str) -> None:
    """Do what a person is told to type."""
    variables = {"HOME": str(home), "PATH": "/usr/bin:/bin", "WANDB_API_KEY": KEY, "WANDB_BASE_URL": url}
    command = [sys.executable, "-m", "wandb", "sync", str(store / "tracking" / "wandb")]
    done = subprocess.run(
        command, env=variables, capture_output=True, text=True, cwd=store.parent, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_server_that_refuses_the_key_says_so(offline: Any, track: Any, tmp_path: Path) -> None:
    wrong = "f" * 40
    with StandIn() as server:
        code, printed = track(_copy(offline, tmp_path), WANDB_API_KEY=wrong, WANDB_BASE_URL=server.url)

    assert code == 0, printed
    assert "5 runs wait" in printed
    assert "W&B: permission denied" in printed
    assert wrong not in printed


def test_shared_runs_are_written_to_the_server_directly(
    offline: Any, tools: Any, track: Any, tmp_path: Path
) -> None:
    store = _copy(offline, tmp_path)
    with StandIn() as server:
        code, printed = track(store, "shared", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
        _, again = track(store, "shared", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)

    _, histories = offline.frames()
    assert code == 0, printed
    assert "W&B: 0 cells written, 4 before." in again
    for cell_id, rows in histories.items():
        assert tools.same([tools.own(row) for row in server.runs[cell_id].history], rows)
    assert {run.completions for run in server.runs.values()} == {1}
    assert "wait in" not in printed


def test_shared_runs_without_a_server_are_kept_offline(offline: Any, track: Any, tmp_path: Path) -> None:
    with StandIn() as server:
        gone = server.url

    code, printed = track(_copy(offline, tmp_path), "shared", WANDB_API_KEY=KEY, WANDB_BASE_URL=gone)

    assert code == 0, printed
    assert "the server does not answer, so runs are kept offline" in printed
    assert "5 runs wait" in printed


# The tracker, fed with events of a run that is over.


@pytest.fixture
def tracked(offline: Any, tools: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy of the store, and this process's environment as the tracking process should find it."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    return tools.Tracked(offline.suite, _copy(offline, tmp_path), "", home)


def _events(tracked: Any, pack: Pack, *, until: int | None = None) -> Iterator[Event]:
    """What a pack of the store's cells has reported: begun, epochs, and its end unless it was cut short."""
    records, histories = tracked.frames()
    mine = {cell.id: histories[cell.id] for cell in pack.cells}
    yield Event("started", 0, pack)
    for epoch in range(1, until or 4):
        first = 0 if epoch == 1 else epoch
        rows = {cell_id: [r for r in rows if first <= r["epoch"] <= epoch] for cell_id, rows in mine.items()}
        yield Event("epoch", 0, pack, epoch=epoch, rows=rows)
    if until is None:
        history = [{"cell_id": cell_id, **row} for cell_id, rows in mine.items() for row in rows]
        kept = [{k: v for k, v in records[cell_id].items() if k != "suite"} for cell_id in mine]
        yield Event("done", 0, pack, records=kept, history=history)


def _adam(tracked: Any) -> tuple[Cell, ...]:
    return tuple(cell for cell in tracked.cells if cell.optimizer.name == "adam")


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _wait_for_written(tracked: Any, runs: int) -> None:
    ledger = tracked.store / "tracking" / "written.jsonl"
    _wait_for(lambda: ledger.exists() and ledger.read_bytes().count(b"\n") == runs)


def test_a_pack_that_is_tried_again_leaves_one_run_a_cell(tracked: Any, tools: Any) -> None:
    pack = Pack(_adam(tracked))
    with Tracker(Tracking(mode="offline"), tracked.store, "live", lambda text: None) as tracker:
        for event in _events(tracked, pack, until=2):
            tracker(event)
        tracker(Event("retried", 0, pack, reason="worker lost"))
        for half in pack.halves():
            for event in _events(tracked, half):
                tracker(event)
        _wait_for_written(tracked, 2)

    _, histories = tracked.frames()
    assert set(tracked.folders) == {cell.id for cell in pack.cells}
    for cell_id, folder in tracked.folders.items():
        assert tools.same(tools.read_run(folder).rows, histories[cell_id])


def test_a_server_that_dies_is_caught_up_with(
    tracked: Any, tools: Any, track: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    pack = Pack(_adam(tracked))
    with StandIn() as dying:
        monkeypatch.setenv("WANDB_BASE_URL", dying.url)
        tracker = Tracker(Tracking(project="recipes"), tracked.store, "live", lambda text: None)
        *before, last = _events(tracked, pack)
        for event in before:
            tracker(event)
        _wait_for(lambda: len(dying.runs) == 2)
    with tracker:
        tracker(last)
        _wait_for_written(tracked, 2)

    with StandIn() as server:
        _, printed = track(tracked.store, WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url)
        assert "W&B: 2 cells written, 2 before, 5 runs uploaded." in printed
        _, histories = tracked.frames()
        assert {run.completions for run in server.runs.values()} == {1}
        for cell_id, rows in histories.items():
            assert tools.same([tools.own(row) for row in server.runs[cell_id].history], rows)


def test_a_server_that_comes_back_is_sent_the_rest_while_cells_train(
    tracked: Any, tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    first, second = Pack(_adam(tracked)[:1]), Pack(_adam(tracked)[1:])
    with StandIn() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        with Tracker(Tracking(project="recipes"), tracked.store, "live", lambda text: None) as tracker:
            *before, last = _events(tracked, first)
            for event in before:
                tracker(event)
            _wait_for(lambda: len(server.runs) == 1)
            server.die()
            for event in [last, *_events(tracked, second)]:
                tracker(event)
            _wait_for_written(tracked, 2)
            time.sleep(8)  # it is found out meanwhile that nobody answers
            server.revive()
            _wait_for(lambda: [run.completions for run in server.runs.values()] == [1, 1])
            outcome = tracker.write({"status": "ok"}, [], {"id": "x", "name": "x", "job_type": "x"})

        assert (outcome.uploaded, outcome.left, outcome.problem) == (3, 0, "")
        _, histories = tracked.frames()
        assert server.refused == []
        for pack in (first, second):
            cell_id = pack.cells[0].id
            assert tools.same([tools.own(row) for row in server.runs[cell_id].history], histories[cell_id])


def test_an_interrupted_run_goes_on_in_the_same_run(tracked: Any, track: Any) -> None:
    pack = Pack(_adam(tracked))

    def interrupted() -> None:
        with Tracker(Tracking(project="recipes"), tracked.store, "live", lambda text: None) as tracker:
            for event in _events(tracked, pack, until=2):
                tracker(event)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    _, printed = track(tracked.store, "offline", WANDB_API_KEY=KEY, WANDB_BASE_URL="http://127.0.0.1:9")

    assert "W&B: 4 cells written, 0 before." in printed
    assert set(tracked.folders) == {cell.id for cell in tracked.cells} | {"suite-live"}


def test_a_tracking_process_that_is_killed_stops_nothing(
    tracked: Any, track: Any, children: Any, alive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_module, "MOST_PENDING", 0)
    pack = Pack(_adam(tracked))
    with Tracker(Tracking(project="recipes"), tracked.store, "live", lambda text: None) as tracker:
        process = tracker._process
        _wait_for(lambda: children(process.pid))
        core = children(process.pid)
        process.kill()
        for event in _events(tracked, pack):
            tracker(event)
        outcome = tracker.write({"status": "ok"}, [], {"id": "x", "name": "x", "job_type": "x"})

    assert outcome.ended
    assert "recipebench track" in outcome.problem
    _, printed = track(tracked.store, "offline", WANDB_API_KEY=KEY, WANDB_BASE_URL="http://127.0.0.1:9")
    assert "W&B: 4 cells written, 0 before." in printed
    _wait_for(lambda: not any(alive(pid) for pid in core))


def _copy(offline: Any, folder: Path) -> Path:
    target = folder / "runs"
    return Path(shutil.copytree(offline.store, target, ignore=shutil.ignore_patterns("tracking")))
