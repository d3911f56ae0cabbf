"""The store keeps finished packs, tells what is done, and sets aside what is damaged."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipebench.benchmarks.environment import describe
from recipebench.benchmarks.store import Store, StoreError
from recipebench.errors import RequestError

ENVIRONMENT = describe(["recipebench", "run", "test"])
Row = dict[str, Any]


def _cell(number: int) -> str:
    return f"{number:016x}"


def _record(number: int, status: str = "ok", **extra: Any) -> Row:
    return {
        "cell_id": _cell(number),
        "suite": "test",
        "optimizer": "adam",
        "optimizer.lr": 0.001,
        "status": status,
        "reason": None,
        "pack_seconds": 1.5,
        "torch": "2.13.0",
        "cpu": "x86_64-test",
        "test_loss": 1 / (number + 3),
        **extra,
    }


def _history(number: int, epochs: int = 2) -> list[Row]:
    return [
        {
            "cell_id": _cell(number),
            "epoch": e,
            "seconds": 0.5,
            "fit_loss": None if e == 0 else number / (e + 1),
        }
        for e in range(epochs + 1)
    ]


def _write(store: Store, *records: Row) -> None:
    """Write one pack with histories under a lock of its own."""
    with store.lock():
        rows = [row for record in records for row in _history(int(record["cell_id"], 16))]
        store.write(list(records), rows, store.begin_run(ENVIRONMENT))


def _files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def _shard_files(root: Path) -> list[Path]:
    return sorted((root / "shards").iterdir())


# Content


def test_a_folder_that_does_not_exist_is_an_empty_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")

    assert not store.exists
    assert store.cached() == {}
    assert store.builds() == set()
    assert store.records().shape == (0, 2)
    assert list(store.history()) == ["cell_id", "epoch"]
    assert list(tmp_path.iterdir()) == []


def test_packs_with_different_columns_come_back_as_their_union(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    _write(store, _record(2), _record(1, "diverged", test_loss=None, reason="step 7"))
    _write(store, {"cell_id": _cell(0), "status": "failed", "optimizer": "sgd", "optimizer.momentum": 0.9})

    frame = Store(tmp_path / "runs").records()

    assert frame["cell_id"].tolist() == [_cell(0), _cell(1), _cell(2)]
    assert frame["optimizer.momentum"].isna().tolist() == [False, True, True]
    assert frame["optimizer.lr"].isna().tolist() == [True, False, False]
    assert frame["reason"].tolist()[1] == "step 7"
    assert frame["test_loss"][2] == 1 / 5


def test_rows_come_in_the_order_asked_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    _write(store, _record(1), _record(2))
    _write(store, _record(3))
    asked = [_cell(3), _cell(9), _cell(1), _cell(3)]

    assert store.records(asked)["cell_id"].tolist() == [_cell(3), _cell(1)]
    history = store.history(asked)
    assert history["cell_id"].tolist() == [_cell(3)] * 3 + [_cell(1)] * 3
    assert history["epoch"].tolist() == [0, 1, 2, 0, 1, 2]
    assert store.history()["cell_id"].tolist() == [_cell(c) for c in (1, 1, 1, 2, 2, 2, 3, 3, 3)]


def test_null_stays_apart_from_nan(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    _write(store, _record(1, test_loss=math.nan), _record(2, test_loss=None))

    column = store.records()["test_loss"].array

    assert column.isna().tolist() == [False, True]
    assert math.isnan(float(column[0]))


def test_only_ok_and_diverged_cells_count_as_done(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    states = ["ok", "diverged", "failed", "missing"]
    _write(store, *(_record(i, state) for i, state in enumerate(states)))

    assert store.cached() == {_cell(0): "ok", _cell(1): "diverged"}
    assert store.statuses() == {_cell(i): state for i, state in enumerate(states)}


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ("failed", "ok", 1),
        ("ok", "failed", 0),
        ("failed", "missing", 1),
        ("ok", "ok", 1),
        ("diverged", "ok", 1),
    ],
)
def test_done_wins_over_not_done_then_the_later_write(
    tmp_path: Path, first: str, second: str, winner: int, compacted: bool
) -> None:
    store = Store(tmp_path / "runs")
    _write(store, _record(1, first, test_loss=0.0))
    _write(store, _record(1, second, test_loss=1.0))
    if compacted:
        with store.lock():
            store.compact()

    frame = store.records()

    assert frame["test_loss"].tolist() == [float(winner)]
    assert frame["status"].tolist() == [(first, second)[winner]]
    assert len(store.history()) == 3


def test_builds_are_those_of_done_cells(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    _write(store, _record(1), _record(2, torch="2.11.0"), _record(3, "failed", torch="1.0"))
    _write(store, _record(4, cpu="arm"))

    assert store.builds() == {("2.13.0", "x86_64-test"), ("2.11.0", "x86_64-test"), ("2.13.0", "arm")}
    assert store.builds([_cell(1), _cell(3), _cell(9)]) == {("2.13.0", "x86_64-test")}


def test_each_cell_names_its_environment_also_after_compaction(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    _write(store, _record(1))
    with store.lock():
        other = describe(["another"])
        store.write([_record(2)], [], store.begin_run(other))
        store.compact()

    assert store.environment(_cell(1)) == ENVIRONMENT.to_json()
    assert store.environment(_cell(2)) == other.to_json()
    with pytest.raises(RequestError, match="has no cell"):
        store.environment(_cell(3))


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 30),
        st.tuples(st.sampled_from(["ok", "diverged"]), st.floats(), st.integers(0, 3)),
        min_size=1,
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_content_does_not_depend_on_packs_order_or_compaction(
    cells: dict[int, tuple[str, float, int]], rng: random.Random
) -> None:
    records = [_record(n, status, value=value) for n, (status, value, _) in cells.items()]
    histories = {_cell(n): _history(n, epochs) for n, (_, _, epochs) in cells.items()}

    def fill(path: Path, sizes: int, compact: bool) -> str:
        store = Store(path)
        rng.shuffle(records)
        with store.lock():
            for start in range(0, len(records), sizes):
                pack = [{**r, "pack_seconds": rng.random()} for r in records[start : start + sizes]]
                rows = [row for r in pack for row in histories[r["cell_id"]]]
                store.write(pack, rows, store.begin_run(ENVIRONMENT))
            if compact:
                store.compact()
        assert store.cached() == {_cell(n): status for n, (status, _, _) in cells.items()}
        return Store(path).digest()

    with tempfile.TemporaryDirectory() as folder:
        digests = {fill(Path(folder) / f"{k}{c}", k, c) for k in (1, 3, 8) for c in (False, True)}
    assert len(digests) == 1


# Compaction


def test_many_small_shards_are_merged_when_the_store_is_opened(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs", compact_above=4)
    for number in range(5):
        _write(store, _record(number))
    before = store.digest()
    assert len(_shard_files(tmp_path / "runs")) == 15

    with store.lock():
        assert len(_shard_files(tmp_path / "runs")) == 3

    assert store.digest() == before
    assert list(store.cached()) == [_cell(number) for number in range(5)]
    assert store.problems == []


def test_compaction_leaves_full_shards_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipebench.benchmarks.store._FULL_CELLS", 3)
    store = Store(tmp_path / "runs")
    _write(store, *(_record(n) for n in range(3)))
    full = set(_shard_files(tmp_path / "runs"))
    for number in range(3, 10):
        _write(store, _record(number))
    before = store.digest()

    with store.lock():
        store.compact()

    assert full < set(_shard_files(tmp_path / "runs"))
    assert len(_shard_files(tmp_path / "runs")) == 3 * 4  # 3 + 3 + 3 + 1 cells
    assert store.digest() == before


def test_what_a_finished_compaction_left_behind_is_removed_silently(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    store = Store(root)
    _write(store, _record(1))
    _write(store, _record(2))
    old = _files(root)
    with store.lock():
        store.compact()
    for name, content in old.items():
        (root / name).write_bytes(content)

    again = Store(root)
    assert len(again.records()) == 2
    with again.lock():
        assert len(_shard_files(root)) == 3

    assert again.problems == []
    assert len(again.cached()) == 2


def test_replaced_shards_count_again_when_the_merged_one_is_damaged(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    store = Store(root)
    _write(store, _record(1))
    _write(store, _record(2))
    old, before = _files(root), store.digest()
    with store.lock():
        store.compact()
    (merged,) = [path for path in _shard_files(root) if path.name.endswith("records.parquet")]
    merged.write_bytes(merged.read_bytes()[:-1])
    for name, content in old.items():
        (root / name).write_bytes(content)

    again = Store(root)
    with again.lock():
        assert len(again.cached()) == 2

    assert again.digest() == before


# Damage


def _two_packs(root: Path) -> tuple[set[Path], set[Path]]:
    """Write cells 1 and 2 into one shard and cell 3 into another; return the files of both."""
    _write(Store(root), _record(1), _record(2))
    first = set(_shard_files(root))
    _write(Store(root), _record(3))
    return first, set(_shard_files(root)) - first


def _only_third_is_left(root: Path) -> None:
    store = Store(root)
    assert list(store.cached()) == [_cell(3)]
    assert len(store.problems) == 1
    assert store.records()["cell_id"].tolist() == [_cell(3)]
    assert set(store.history()["cell_id"]) == {_cell(3)}


def test_a_file_cut_anywhere_is_caught(tmp_path: Path) -> None:
    first, _ = _two_packs(tmp_path)
    for path in first:
        whole = path.read_bytes()
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            assert list(Store(tmp_path).cached()) == [_cell(3)], (path.name, length)
        path.write_bytes(whole[:-1])
        _only_third_is_left(tmp_path)
        path.write_bytes(whole)
    assert len(Store(tmp_path).cached()) == 3


def test_a_bit_flipped_anywhere_is_caught(tmp_path: Path) -> None:
    first, _ = _two_packs(tmp_path)
    for path in first:
        whole = bytearray(path.read_bytes())
        for place in range(len(whole)):
            whole[place] ^= 1 << place % 8
            path.write_bytes(whole)
            assert list(Store(tmp_path).cached()) == [_cell(3)], (path.name, place)
            whole[place] ^= 1 << place % 8
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        _only_third_is_left(tmp_path)
        path.write_bytes(whole)
    assert len(Store(tmp_path).cached()) == 3


def test_bytes_are_verified_when_they_are_read_even_after_an_earlier_look(tmp_path: Path) -> None:
    first, _ = _two_packs(tmp_path)
    store = Store(tmp_path)
    assert len(store.cached()) == 3
    (path,) = [path for path in first if path.name.endswith("records.parquet")]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)

    assert store.records()["cell_id"].tolist() == [_cell(3)]
    assert list(store.cached()) == [_cell(3)]


@pytest.mark.parametrize("kind", ["records.parquet", "history.parquet", "json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "link", "folder"])
def test_a_damaged_shard_is_set_aside_and_only_that(tmp_path: Path, kind: str, damage: str) -> None:
    root = tmp_path / "runs"
    first, second = _two_packs(root)
    (path,) = [path for path in first if path.name.endswith(kind)]
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 16]))
    elif damage == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif damage == "folder":
        path.mkdir()
    heard: list[str] = []

    store = Store(root, on_problem=heard.append)
    with store.lock():
        assert list(store.cached()) == [_cell(3)]

    assert set(_shard_files(root)) == second
    assert len(heard) == 1
    assert heard == store.problems
    assert "quarantine" in heard[0]
    assert path.name.partition(".")[0] in heard[0]
    kept = {entry.name for entry in (root / "quarantine").iterdir()}
    assert kept == {p.name for p in first} - ({path.name} if damage == "remove" else set())
    _write(Store(root), _record(1), _record(2))
    assert len(Store(root).cached()) == 3


def test_markers_that_swap_places_are_caught(tmp_path: Path) -> None:
    first, second = _two_packs(tmp_path)
    (one,) = [path for path in first if path.suffix == ".json"]
    (two,) = [path for path in second if path.suffix == ".json"]
    kept = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(kept)

    store = Store(tmp_path)

    assert store.cached() == {}
    assert len(store.problems) == 2


def test_unfinished_files_are_set_aside_and_strangers_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    _write(Store(root), _record(1))
    unfinished = "0" * 32
    for name in (f"{unfinished}.records.parquet", f"{unfinished}.json.77.tmp", "notes.txt", "a.tmp"):
        (root / "shards" / name).write_text("x")
    (root / "mine.tmp").write_text("x")
    (root / "environments" / f"{_cell(7)}.json.1.tmp").write_text("x")

    store = Store(root)
    with store.lock():
        pass

    assert len(store.problems) == 1
    assert f"Shard {unfinished} was not finished" in store.problems[0]
    assert sorted(entry.name for entry in (root / "quarantine").iterdir()) == [
        f"{unfinished}.json.77.tmp",
        f"{unfinished}.records.parquet",
    ]
    assert {"notes.txt", "a.tmp"} < {entry.name for entry in (root / "shards").iterdir()}
    assert (root / "mine.tmp").exists()
    assert len(list((root / "environments").iterdir())) == 1
    assert list(store.cached()) == [_cell(1)]


def test_a_second_file_of_one_name_does_not_overwrite_the_first_in_quarantine(tmp_path: Path) -> None:
    name = f"{'0' * 32}.records.parquet"
    store = Store(tmp_path / "runs")
    for content in ("first", "second"):
        _write(store, _record(1))
        (tmp_path / "runs" / "shards" / name).write_text(content)
        with store.lock():
            pass

    aside = tmp_path / "runs" / "quarantine"
    assert (aside / name).read_text() == "first"
    assert (aside / f"{name}.1").read_text() == "second"


def test_a_damaged_environment_is_named(tmp_path: Path) -> None:
    _write(Store(tmp_path), _record(1))
    (path,) = (tmp_path / "environments").iterdir()
    path.write_text(path.read_text().replace("python", "pithon"))

    with pytest.raises(RequestError, match="is damaged: its SHA-256 differs from its name"):
        Store(tmp_path).environment(_cell(1))


# Wrong requests


def _wrong_file(path: Path) -> Path:
    path.write_text("x")
    return path


def _wrong_folder(path: Path) -> Path:
    path.mkdir()
    (path / "thesis.tex").write_text("x")
    return path


def _wrong_identity(path: Path) -> Path:
    path.mkdir()
    (path / "store.json").write_text('{"format": "recipebench-stare", "version": 1}')
    return path


def _wrong_version(path: Path) -> Path:
    path.mkdir()
    (path / "store.json").write_text('{"format": "recipebench-store", "version": 2}')
    return path


def _wrong_link(path: Path) -> Path:
    path.symlink_to(path.parent / "nothing")
    return path


def _wrong_shards(path: Path) -> Path:
    _write(Store(path), _record(1))
    for entry in _shard_files(path):
        entry.unlink()
    (path / "shards").rmdir()
    (path.parent / "outside").mkdir()
    (path / "shards").symlink_to(path.parent / "outside")
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_wrong_file, "is a file; expected a folder"),
        (_wrong_folder, r"is not a store: it has no store\.json, but other content \('thesis.tex'\)"),
        (_wrong_identity, r"has a damaged store\.json; expected \{\"format\": \"recipebench-store\""),
        (_wrong_version, "has format version 2; expected 1"),
        (_wrong_link, "is a link to nothing"),
        (_wrong_shards, "has a shards folder that leads outside of it"),
        (lambda path: path.with_name("n" * 300), "cannot be opened: File name too long"),
        (lambda path: f"{path}\0x", "it holds a NUL"),
    ],
)
def test_a_path_that_cannot_be_a_store_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    path = make(tmp_path / "runs")
    before = _files(tmp_path)

    with pytest.raises(RequestError, match=message):
        Store(path)

    assert _files(tmp_path) == before


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nothing can be created")
def test_a_place_where_nothing_can_be_written_is_refused() -> None:
    with (
        pytest.raises(
            RequestError, match=r"The store /proc/runs cannot be opened: .* you can read and write"
        ),
        Store("/proc/runs").lock(),
    ):
        pass


def test_a_folder_of_one_killed_at_its_creation_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "store.lock").touch()
    (tmp_path / "store.json.12.tmp").write_text("{")

    _write(Store(tmp_path), _record(1))

    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        *("environments", "shards", "store.json", "store.lock"),
    ]


@pytest.mark.parametrize("cell_id", ["", "../../etc/passwd", "/abs", "A" * 16, "a" * 15, "a\0" * 8, None, 7])
def test_a_cell_id_must_be_one(tmp_path: Path, cell_id: Any) -> None:
    store = Store(tmp_path / "runs")
    with store.lock():
        environment = store.begin_run(ENVIRONMENT)
        with pytest.raises(ValueError, match="Expected a cell_id of 16 hex digits, got"):
            store.write([{**_record(1), "cell_id": cell_id}], [], environment)

    assert _shard_files(tmp_path / "runs") == []


@pytest.mark.parametrize(
    ("records", "history", "message"),
    [
        ([_record(1, "done")], [], "Expected a status of ok, diverged, failed, missing, got 'done'"),
        ([_record(1), _record(1)], [], "Expected each cell once in a pack, got '0000000000000001' again"),
        ([_record(1)], _history(2), "The history has a cell without a record: '0000000000000002'"),
        ([_record(1)], _history(1) * 2, "Expected each cell and epoch once in a pack"),
        ([_record(1)], [{"cell_id": _cell(1), "epoch": 1.0}], "Expected a whole number as epoch, got 1.0"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(
    tmp_path: Path, records: list[Row], history: list[Row], message: str
) -> None:
    store = Store(tmp_path / "runs")
    with store.lock(), pytest.raises(ValueError, match=message):
        store.write(records, history, store.begin_run(ENVIRONMENT))

    assert store.cached() == {}


@pytest.mark.parametrize("environment", ["", "../" * 5, "0" * 16, "/etc/passwd", "a\0b"])
def test_an_environment_must_have_begun(tmp_path: Path, environment: str) -> None:
    store = Store(tmp_path / "runs")
    with store.lock(), pytest.raises(ValueError, match="Expected the id of an environment from begin_run"):
        store.write([_record(1)], [], environment)


def test_writing_needs_the_lock(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    for write in (lambda: store.write([], [], ""), store.compact, lambda: store.begin_run(ENVIRONMENT)):
        with pytest.raises(RuntimeError, match=r"needs `with store\.lock\(\):`"):
            write()


# Failing disks


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("ENOSPC", "No space left on device.*free some disk space"),
        ("EIO", "Input/output error.*check the disk"),
    ],
)
@pytest.mark.parametrize("operation", ["write", "fsync", "replace"])
def test_a_failing_disk_is_one_clear_error_and_leaves_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str, code: str, text: str
) -> None:
    root = tmp_path / "runs"
    store = Store(root)
    _write(store, _record(1))
    before = _files(root)

    def fail(*_: object) -> None:
        number = getattr(errno, code)
        raise OSError(number, os.strerror(number))

    with store.lock():
        environment = store.begin_run(ENVIRONMENT)
        with monkeypatch.context() as patch:
            patch.setattr(os, operation, fail)
            with pytest.raises(
                StoreError, match=rf"Could not write 1 finished cells to the store .*: {text}"
            ):
                store.write([_record(2)], [], environment)
        assert list(store.cached()) == [_cell(1)]
        (root / "store.lock").write_bytes(b"")
        assert _files(root) == before

    _write(store, _record(2))
    assert len(store.cached()) == 2


def test_a_shard_whose_sync_failed_is_not_done_even_if_it_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "runs")
    _write(store, _record(1))
    synced = os.fsync

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    def fail_at_the_last(descriptor: int) -> None:
        if len(_shard_files(tmp_path / "runs")) == 6 and not list((tmp_path / "runs/shards").glob("*.tmp")):
            fail()
        synced(descriptor)

    with store.lock():
        environment = store.begin_run(ENVIRONMENT)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail_at_the_last)
            patch.setattr(os, "unlink", fail)
            with pytest.raises(StoreError, match="Input/output error"):
                store.write([_record(2)], [], environment)
        assert len(_shard_files(tmp_path / "runs")) == 6
        assert list(store.cached()) == [_cell(1)]

    with store.lock():
        assert list(store.cached()) == [_cell(1)]
    assert len(_shard_files(tmp_path / "runs")) == 3


def test_an_unreadable_file_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(Store(tmp_path), _record(1))
    before = _files(tmp_path)
    opened = os.open

    def refuse(path: Any, flags: int, *rest: int) -> int:
        if str(path).endswith(".parquet"):
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest)

    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(StoreError, match=r"Could not read the store .*: Permission denied"):
            store.cached()
        with (
            pytest.raises(StoreError, match=r"Could not clean the store .*: Permission denied"),
            store.lock(),
        ):
            pass

    assert {k: v for k, v in _files(tmp_path).items() if k != "store.lock"} == {
        k: v for k, v in before.items() if k != "store.lock"
    }


# Names


def test_hostile_names_never_leave_the_folder(tmp_path: Path) -> None:
    rng = random.Random(0)
    pieces = [
        "..",
        "/",
        "\\",
        "\0",
        "~",
        "%2e",
        "CON",
        "\udc80",
        "a" * 300,
        "é",
        "\n",
        "|",
        "<script>",
        "$(id)",
        "*",
    ]
    names = ["".join(rng.choices(pieces, k=rng.randint(1, 6))) for _ in range(10_000)]
    root = tmp_path / "deep" / "runs"
    store = Store(root)
    with store.lock():
        for start in range(0, len(names), 1000):
            environment = store.begin_run(describe([names[start], "--data-dir", names[start + 1]]))
            store.write(
                [
                    _record(
                        start + i, suite=name, reason=name, **{name.replace("|", ""): name} if i < 20 else {}
                    )
                    for i, name in enumerate(names[start : start + 1000])
                    if name.replace("|", "")
                ],
                [],
                environment,
            )

    assert [entry.name for entry in tmp_path.iterdir()] == ["deep"]
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["runs"]
    assert {entry.name for entry in root.iterdir()} == {"environments", "shards", "store.json", "store.lock"}
    for folder, length in (("shards", 32), ("environments", 16)):
        stems = {entry.name.partition(".")[0] for entry in (root / folder).iterdir()}
        assert all(len(stem) == length and set(stem) <= set("0123456789abcdef") for stem in stems)
    found = store.records()
    kept = [name for name in names if name.replace("|", "")]
    assert found["suite"].tolist() == [name.encode("utf-8", "backslashreplace").decode() for name in kept]


def test_a_marker_with_hostile_names_reaches_nothing(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    victim = tmp_path / "victim.json"
    victim.write_text("precious")
    _write(Store(root), _record(1))
    (path,) = [path for path in _shard_files(root) if path.suffix == ".json"]
    fields = json.loads(path.read_bytes().splitlines()[0])
    fields["replaces"] = ["../../victim", "/etc/passwd", str(victim)]
    body = json.dumps(fields, separators=(",", ":")).encode()
    path.write_bytes(body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n")

    with Store(root).lock():
        pass

    assert victim.read_text() == "precious"
    assert list(Store(root).cached()) == [_cell(1)]


def test_importing_the_store_loads_no_heavy_library() -> None:
    code = (
        "import sys, recipebench.benchmarks.store, recipebench.benchmarks.environment as e; e.describe();"
        "print([m for m in ('torch', 'pytorch_lightning', 'pandas', 'pyarrow') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("strike_at", range(1, 8))
def test_ctrl_c_while_a_pack_is_written_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strike_at: int
) -> None:
    """Whichever sync it hits, the work is finished, and so is the pack; then the interrupt is seen."""
    store, synced, sync = Store(tmp_path / "runs"), 0, os.fsync

    def slow(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        if synced == strike_at:
            os.kill(os.getpid(), signal.SIGINT)
        sync(descriptor)

    with store.lock():
        environment = store.begin_run(ENVIRONMENT)
        monkeypatch.setattr(os, "fsync", slow)
        with contextlib.suppress(KeyboardInterrupt):
            store.write([_record(1)], _history(1), environment)
            assert synced < strike_at  # else it was seen
        monkeypatch.undo()

    assert Store(tmp_path / "runs").cached() == {_cell(1): "ok"}
