"""The matrix tracked without a key: what the real client has written, read back from its files."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml


def test_every_cell_is_one_run_that_holds_its_record_and_history(offline: Any, tools: Any) -> None:
    records, histories = offline.frames()
    folders = offline.folders

    assert set(folders) == {cell.id for cell in offline.cells} | {"suite-live"}
    for cell_id, record in records.items():
        run = tools.read_run(folders[cell_id])
        assert tools.same(tools.own(run.summary), record)
        assert tools.same(run.rows, histories[cell_id])
        assert [row["_step"] for row in run.history] == [row["epoch"] for row in histories[cell_id]]
        assert run.exit_code == 0


def test_rows_are_logged_while_a_cell_trains(offline: Any, tools: Any) -> None:
    cell = next(cell for cell in offline.cells if cell.optimizer.name == "adam")
    times = [row["_timestamp"] for row in tools.read_run(offline.folders[cell.id]).history]

    assert times == sorted(times)
    assert len(set(times)) == len(times) == 4


def test_group_job_type_tags_and_config_tell_what_a_run_is(offline: Any, tools: Any) -> None:
    cell = next(cell for cell in offline.cells if cell.activation.name == "leaky_relu")
    found = tools.read_run(offline.folders[cell.id])

    assert (found.run.run_id, found.run.project) == (cell.id, "recipes")
    assert (found.run.run_group, found.run.job_type) == ("live", "digits")
    assert {"model:mlp", "activation:leaky_relu", f"optimizer:{cell.optimizer.name}"} <= set(found.run.tags)
    columns = {name: value for name, value in cell.columns().items() if value is not None}
    assert found.config == {"cell_id": cell.id, **columns}
    assert found.config["activation.negative_slope"] == 0.2


def test_the_closing_run_carries_report_table_figures_and_artifact(offline: Any, tools: Any) -> None:
    folder, out = offline.folders["suite-live"], offline.store / "reports" / "live"
    found = tools.read_run(folder)
    (row,) = found.history
    media = folder / "files"

    assert (found.run.run_group, found.run.job_type) == ("live", "suite")
    assert tools.own(found.summary) == {"planned": 4, "ok": 2, "diverged": 2, "failed": 0, "missing": 0}
    assert (media / row["report.path"]).read_bytes() == (out / "index.html").read_bytes()
    for figure in (out / "figures").glob("*.svg"):
        assert (media / row[f"figures/{figure.stem}.path"]).read_bytes() == figure.read_bytes()
    assert any((out / "figures").glob("*.svg"))
    table = json.loads((media / row["records.path"]).read_text())
    records = pq.read_table(out / "records.parquet")
    assert table["columns"] == records.column_names
    assert table["data"] == [list(row.values()) for row in records.to_pylist()]
    assert _artifact(found, "live-results") == {
        "records.parquet": (out / "records.parquet").read_bytes(),
        "history.parquet": (out / "history.parquet").read_bytes(),
        "suite.yaml": yaml.safe_dump(offline.suite).encode(),
    }


def _artifact(found: Any, name: str) -> dict[str, bytes]:
    (artifact,) = [artifact for artifact in found.artifacts if artifact.name == name]
    assert artifact.type == "results"
    return {entry.path: Path(entry.local_path).read_bytes() for entry in artifact.manifest.contents}


def test_without_a_key_runs_stay_here_and_the_command_to_upload_them_is_told(offline: Any) -> None:
    assert "W&B: no API key was found, so runs are kept offline." in offline.printed
    assert "W&B: 4 cells written, 0 before." in offline.printed
    assert f"Upload them: wandb sync {offline.store}/tracking/wandb" in offline.printed


def test_nothing_is_written_under_the_home_folder(offline: Any) -> None:
    assert [path for path in offline.home.rglob("*") if "wandb" in path.name] == []


def test_track_writes_what_live_tracking_writes(offline: Any, tools: Any, track: Any, tmp_path: Path) -> None:
    store = _untracked(offline, tmp_path)
    code, printed = track(store)
    after = tools.Tracked(offline.suite, store, printed, offline.home)

    assert code == 0, printed
    for run, folder in offline.folders.items():
        live, later = tools.read_run(folder), tools.read_run(after.folders[run])
        assert later.config | {"command": ""} == live.config | {"command": ""}
        assert tools.same(tools.own(later.summary), tools.own(live.summary))
        assert list(later.run.tags) == list(live.run.tags)
        assert len(later.rows) == len(live.rows)
        if run != "suite-live":
            assert tools.same(later.rows, live.rows)


def test_track_is_idempotent_and_writes_again_what_was_torn(
    offline: Any, tools: Any, track: Any, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(offline.store, tmp_path / "runs"))
    tracked = tools.Tracked(offline.suite, store, "", offline.home)
    before = tracked.folders

    _, again = track(store)

    assert "W&B: 0 cells written, 4 before." in again
    assert tracked.folders == before
    ledger = store / "tracking" / "written.jsonl"
    ledger.write_bytes(b"\n".join(ledger.read_bytes().splitlines()[1:])[:-9])  # one lost, one torn
    _, third = track(store)
    assert re.search(r"W&B: [12] cells written, [32] before", third), third
    assert set(tracked.folders) == set(before)


def test_the_track_key_is_no_part_of_an_id(offline: Any, tools: Any) -> None:
    untracked = {name: value for name, value in offline.suite.items() if name != "track"}

    assert [c.id for c in tools.Tracked(untracked, offline.store, "", offline.home).cells] == [
        c.id for c in offline.cells
    ]


def test_offline_and_disabled_nothing_is_looked_up(offline: Any, recipebench: Any, tmp_path: Path) -> None:
    prefix = ("unshare", "-rn", "strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg")
    works = shutil.which("strace") and shutil.which("unshare")
    if not works or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs strace and unshare, with the right to use them")
    for mode in ("offline", "disabled"):
        log, store = tmp_path / f"{mode}.log", _untracked(offline, tmp_path / mode)
        done = recipebench(
            *("track", _suite(offline), "--store", store, "--mode", mode),
            prefix=(*prefix, "-o", str(log)),
            WANDB_API_KEY="x" * 40,
        )
        assert done.returncode == 0, done.stderr
        assert (store / "tracking").exists() == (mode == "offline")
        calls = log.read_text().splitlines()
        assert [call for call in calls if "AF_INET" in call or "sin_port" in call] == []
        assert any("AF_UNIX" in call for call in calls) == (mode == "offline")  # it does see calls


def test_with_tracking_off_wandb_is_never_imported(offline: Any, recipebench: Any, tmp_path: Path) -> None:
    trap, marker = tmp_path / "trap" / "wandb", tmp_path / "imported"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise ImportError('a trap')\n")
    places = os.pathsep.join([str(trap.parent), str(Path(__file__).parents[3])])
    suite = tmp_path / "small.yaml"
    suite.write_text(yaml.safe_dump({**offline.suite, "matrix": {"optimizer": ["adam"]}}))

    off = recipebench(
        "run", suite, "--store", tmp_path / "runs", "--workers", 1, "--track", "off", PYTHONPATH=places
    )

    assert off.returncode == 0, off.stderr
    assert not marker.exists()
    on = recipebench("track", suite, "--store", tmp_path / "runs", PYTHONPATH=places)
    assert marker.exists()
    assert on.returncode == 1
    assert "tracking has ended early: ImportError: a trap" in on.stdout


def _suite(offline: Any) -> Path:
    return Path(offline.store.parent / "live.yaml")


def _untracked(offline: Any, folder: Path) -> Path:
    ignored = shutil.ignore_patterns("tracking")
    return Path(shutil.copytree(offline.store, folder / "runs", ignore=ignored))
