"""The store under kill -9, power cuts, failing disks and other processes.

Run as a script this file plays the victims: `campaign` forks a child for each injected fault from
one process that has everything loaded, so that hundreds of faults take seconds.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from recipebench.benchmarks import store_files
from recipebench.benchmarks.environment import describe
from recipebench.benchmarks.store import Store, StoreError
from recipebench.errors import RequestError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and signals")

Row = dict[str, Any]
ENVIRONMENT = describe(["recipebench", "run", "faults"])
PACKS = 4
LEAST_FAULTS = int(os.environ.get("RECIPEBENCH_FAULTS", "150"))
"""How many faults the campaign injects at least; whole rounds are played."""


def _pack(number: int) -> tuple[list[Row], list[Row]]:
    """Return the two cells of a pack; only durations differ from one time to the next."""
    cells = [f"{number * 2 + i:016x}" for i in range(2)]
    records: list[Row] = [
        {
            "cell_id": cell,
            "status": ("ok", "diverged")[i],
            "test_loss": 1 / (number + 3),
            f"x.{number}": number,
        }
        for i, cell in enumerate(cells)
    ]
    for record in records:
        record["pack_seconds"] = time.perf_counter()
    history: list[Row] = [{"cell_id": c, "epoch": e, "fit_loss": e / 3} for c in cells for e in range(3)]
    return records, history


def _cells(number: int) -> set[str]:
    return {f"{number * 2 + i:016x}" for i in range(2)}


def _write_missing(
    store: Store, packs: int, done: Callable[[int], object] = lambda _: None, *, wait: bool = False
) -> None:
    """What a run does: open, look what is there, write the rest."""
    with store.lock(wait=wait):
        environment = store.begin_run(ENVIRONMENT)
        cached = store.cached()
        for number in range(packs):
            if not _cells(number) <= set(cached):
                store.write(*_pack(number), environment)
            done(number)


# Where a run is hit: each builds the state before it.


def _fresh(path: Path) -> None:
    """No store yet: the fault hits its creation."""


def _many_shards(path: Path) -> None:
    """Enough small shards that opening compacts them, one of a failed cell among them."""
    store = Store(path)
    _write_missing(store, 3)
    with store.lock():
        failed = [{"cell_id": next(iter(_cells(3))), "status": "failed", "reason": "killed"}]
        store.write(failed, [], store.begin_run(ENVIRONMENT))


def _leftovers(path: Path) -> None:
    """A damaged shard, an unfinished one and a compaction that was interrupted: opening cleans."""
    store, shards = Store(path, compact_above=100), path / "shards"
    _write_missing(store, 3)
    replaced = {entry: entry.read_bytes() for entry in sorted(shards.iterdir())}
    with store.lock():
        store.compact()
    merged = set(shards.iterdir())
    _write_missing(store, 4)
    (newest,) = [entry for entry in set(shards.iterdir()) - merged if ".history." in entry.name]
    newest.write_bytes(newest.read_bytes()[:-9])
    (shards / f"{'0' * 32}.records.parquet").write_text("unfinished")
    (shards / f"{'0' * 32}.json.1.tmp").write_text("unfinished")
    for entry, content in list(replaced.items())[2:]:
        entry.write_bytes(content)


SCENES: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "fresh": (_fresh, set()),
    "many shards": (_many_shards, set().union(*map(_cells, range(3)))),
    "leftovers": (_leftovers, set().union(*map(_cells, range(3)))),
}


EXPECTED_PROBLEMS = ("was not finished", "history file that differs")
"""What a fault may leave: unfinished files, and the damage that `_leftovers` does by hand."""

# Faults


class Disk:
    """Counts the operations that change a disk, and strikes at the n-th.

    Args:
        strike_at: the operation, counting from 1.
        mode: `before` or `torn` kill the process before or in the middle of it; `power` also takes
            back what was not synced; `ENOSPC` and `EIO` fail it and all after it, `once` only it.
        rng: decides what a power cut takes back.
        backup: a folder on the same disk for files that a power cut brings back.
    """

    names = ("write", "fsync", "replace", "unlink", "mkdir", "ftruncate")

    def __init__(self, strike_at: int, mode: str, rng: random.Random, backup: Path) -> None:
        self.strike_at, self.mode, self.rng, self.backup = strike_at, mode, rng, backup
        self.count = 0
        self.struck = False
        self.real = {name: getattr(os, name) for name in (*self.names, "open")}
        self.paths: dict[int, str] = {}
        self.unsynced: dict[str, None] = {}  # in the order of the writes, so that a campaign can be repeated
        self.undo: list[tuple[str, Callable[[], None]]] = []  # (folder, how to take the operation back)

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        def wrapper(name: str) -> Callable[..., Any]:
            return lambda *args, **options: self._operate(name, *args, **options)

        os.open = self._open
        for name in self.names:
            setattr(os, name, wrapper(name))
        try:
            yield
        finally:
            for name, function in self.real.items():
                setattr(os, name, function)

    def _open(self, path: Any, flags: int, *args: Any, **options: Any) -> int:
        new = flags & os.O_CREAT and not os.path.lexists(path)
        descriptor: int = self.real["open"](path, flags, *args, **options)
        self.paths[descriptor] = str(path)
        if new:
            self._remember(str(path), lambda: self.real["unlink"](path))
        return descriptor

    def _operate(self, name: str, *args: Any, **options: Any) -> Any:
        self.count += 1
        if self.count == self.strike_at or (self.struck and self.mode in ("ENOSPC", "EIO")):
            self.struck = True
            self._strike(name, *args)
        if name == "unlink":
            self._keep(str(args[0]))
        result = self.real[name](*args, **options)
        self._note(name, *args)
        return result

    def _strike(self, name: str, *args: Any) -> None:
        if self.mode in ("ENOSPC", "EIO", "once"):
            number = getattr(errno, self.mode, errno.EIO)
            raise OSError(number, os.strerror(number))
        if self.mode == "torn" and name == "write":
            self.real["write"](args[0], bytes(args[1])[: len(args[1]) // 2])
        if self.mode == "power":
            self._cut_power()
        os.kill(os.getpid(), signal.SIGKILL)

    def _keep(self, path: str) -> None:
        copy = self.backup / f"{self.count}"
        if os.path.exists(path):
            os.link(path, copy)
            self._remember(path, lambda: self.real["replace"](copy, path))

    def _note(self, name: str, *args: Any) -> None:
        if name == "write":
            self.unsynced[self.paths[args[0]]] = None
        elif name == "fsync":
            path = self.paths[args[0]]
            self.unsynced.pop(path, None)
            self.undo = [(folder, back) for folder, back in self.undo if folder != path]
        elif name == "replace":
            old, new = map(str, args)
            self.unsynced = {new if path == old else path: None for path in self.unsynced}
            self._remember(new, lambda: self.real["replace"](new, old))
        elif name == "mkdir":
            self._remember(str(args[0]), lambda: shutil.rmtree(args[0]))

    def _remember(self, path: str, back: Callable[[], None]) -> None:
        self.undo.append((str(Path(path).parent), back))

    def _cut_power(self) -> None:
        """Take back a random part of the names, and of the bytes, that were never synced."""
        for name, function in self.real.items():
            setattr(os, name, function)
        for path in self.unsynced:
            if os.path.exists(path):
                os.truncate(path, self.rng.randint(0, os.path.getsize(path)))
        for _, back in reversed(self.undo):
            if self.rng.random() < 0.6:
                with contextlib.suppress(FileNotFoundError):
                    back()


def _play(path: Path, disk: Disk, acknowledge: Callable[[int], object]) -> str:
    """Run into the fault; return `done`, or the text of the error that a person would see."""
    try:
        with disk.installed():
            _write_missing(Store(path, compact_above=2), PACKS, acknowledge)
    except (StoreError, RequestError) as error:
        return str(error)
    return "done"


def _in_child(path: Path, disk: Disk) -> tuple[set[int], bool]:
    """Play in a forked child; return the packs it reported as committed, and whether it was killed."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        write = os.write
        try:
            _play(path, disk, lambda number: write(sink, bytes([number])))
        finally:
            os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as reader:
        committed = set(reader.read())
    _, status = os.waitpid(child, 0)
    return committed, os.WIFSIGNALED(status)


def _check(path: Path, base: set[str], committed: set[int], reference: str) -> list[str]:
    """Return what is wrong with a store after a fault, before and after it is resumed."""
    wrong = []
    safe = base.union(*map(_cells, committed))
    store = Store(path, compact_above=2)
    before = set(store.cached())
    if not safe <= before:
        wrong.append(f"lost before the resume: {sorted(safe - before)}")
    wrong += [f"half of pack {n}" for n in range(PACKS) if len(_cells(n) & before) == 1]
    if set(store.records(before)["cell_id"]) != before or len(store.history(before)) != 3 * len(before):
        wrong.append("cells without rows before the resume")
    with store.lock():
        if not safe <= set(store.cached()):
            wrong.append(f"lost while opening: {sorted(safe - set(store.cached()))}")
    wrong += [text for text in store.problems if not any(reason in text for reason in EXPECTED_PROBLEMS)]
    _write_missing(store, PACKS)
    if store.digest() != reference:
        wrong.append("another content after the resume")
    if sorted(store.records()["cell_id"]) != sorted(set().union(*map(_cells, range(PACKS)))):
        wrong.append("cells lost or doubled after the resume")
    return wrong


MODES = ("torn", "power", "ENOSPC", "once")
LATER_MODES = (*MODES, "before", "EIO")


def _campaign(folder: Path, least: int, modes: Sequence[str], scenes: list[str]) -> dict[str, Any]:
    """Inject a fault at every operation of every scene in every mode, in rounds."""
    _write_missing(Store(folder / "reference"), PACKS)
    reference = Store(folder / "reference").digest()
    for name in scenes:
        SCENES[name][0](folder / f"base {name}")
    failures: list[str] = []
    kinds: Counter[str] = Counter()
    for round_number in itertools.count():
        for name, mode in itertools.product(scenes, modes):
            for strike_at in itertools.count(1):
                path, backup = folder / "store", folder / "backup"
                for old in (path, backup):
                    shutil.rmtree(old, ignore_errors=True)
                backup.mkdir()
                if (folder / f"base {name}").exists():
                    shutil.copytree(folder / f"base {name}", path)
                disk = Disk(strike_at, mode, random.Random(f"{round_number} {name} {strike_at}"), backup)
                struck, wrong = _inject(path, disk, SCENES[name][1], reference)
                if not struck:
                    break
                kinds[mode] += 1
                failures += [f"{name}, {mode} at {strike_at}: {text}" for text in wrong]
        if kinds.total() >= least:
            break
        modes = LATER_MODES
    return {"faults": kinds.total(), "kinds": kinds, "failures": failures}


def _inject(path: Path, disk: Disk, base: set[str], reference: str) -> tuple[bool, list[str]]:
    try:
        if disk.mode in ("before", "torn", "power"):
            committed, struck = _in_child(path, disk)
            return struck, _check(path, base, committed, reference)
        done: set[int] = set()
        text = _play(path, disk, done.add)
        wrong = [] if _is_clear(text) else [f"an unclear outcome: {text}"]
        return disk.struck, wrong + _check(path, base, done, reference)
    except Exception as error:  # the campaign goes on and reports it
        return True, [f"{type(error).__name__}: {error}"]


def _is_clear(text: str) -> bool:
    """Whether the failure reached the person in one sentence, or hit nothing that matters."""
    return text == "done" or ("Could not" in text and "What was committed before is intact" in text)


# Tests of the campaign


def _script(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is one: kills and simulated power cuts need no real disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def test_no_fault_loses_doubles_or_corrupts_a_cell(quick_folder: Path) -> None:
    done = _script("campaign", quick_folder, LEAST_FAULTS)

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert result["faults"] >= max(150, LEAST_FAULTS)
    assert set(result["kinds"]) >= set(MODES)
    assert min(result["kinds"].values()) > 20


def test_the_campaign_notices_a_store_that_forgets_to_sync(quick_folder: Path) -> None:
    done = _script("careless", quick_folder)

    assert done.returncode == 0, done.stderr
    assert any("lost" in failure for failure in json.loads(done.stdout)["failures"])


# Real system calls


def _strace(path: Path, injection: str) -> subprocess.CompletedProcess[str]:
    calls = injection.partition(":")[0]
    tracer = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={injection}"]
    command = [*tracer, sys.executable, __file__, "run", str(path)]
    return subprocess.run(command, capture_output=True, text=True)


def _can_strace() -> bool:
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


RENAMES = "?rename,?renameat,?renameat2"


@pytest.mark.parametrize(
    ("injection", "text"),
    [
        ("fsync:signal=SIGKILL:when=6", ""),
        ("fsync:signal=SIGKILL:when=9", ""),
        (f"{RENAMES}:signal=SIGKILL:when=2", ""),
        (f"{RENAMES}:signal=SIGKILL:when=3", ""),
        ("write:signal=SIGKILL:when=5", ""),
        ("fsync:error=EIO:when=6", "Input/output error"),
        ("write:error=ENOSPC:when=5", "No space left on device"),
    ],
)
def test_faults_of_the_kernel_itself(tmp_path: Path, injection: str, text: str) -> None:
    if not _can_strace():
        pytest.skip("strace is not installed or may not trace")
    path = tmp_path / "runs"
    _write_missing(Store(path), 1)
    _write_missing(Store(tmp_path / "reference"), PACKS)

    done = _strace(path, injection)

    assert done.returncode == (1 if text else -signal.SIGKILL), done.stderr
    assert text in done.stdout
    committed = {int(line) for line in done.stdout.splitlines() if line.isdigit()}
    assert _check(path, _cells(0), committed, Store(tmp_path / "reference").digest()) == []


def test_a_full_disk(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=1m none "$0"'
    allowed = (
        shutil.which("unshare")
        and not subprocess.run(
            ["unshare", "-rm", "sh", "-c", mount, str(tmp_path)], capture_output=True
        ).returncode
    )
    if not allowed:
        pytest.skip("this machine does not let one mount a small disk (unshare -rm)")
    script = f'{mount} && exec "$1" "$2" fill "$0"'

    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, str(tmp_path), sys.executable, __file__],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "No space left on device" in result["error"]
    assert "free some disk space, then run the same command again" in result["error"]
    assert result["committed"] > 2
    assert result["cached"] == result["cached by another"] == result["committed"]
    assert result["leftovers"] == []
    assert result["resumed"] == result["committed"] + 1
    assert result["problems"] == []


# Other processes


def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with Store(tmp_path).lock():
        done = _script("run", tmp_path)

    assert done.returncode == 1
    assert f"The store {tmp_path} is in use by process {os.getpid()} since 20" in done.stdout
    assert "Wait until it is done, or choose another store." in done.stdout


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with (
        store.lock(),
        pytest.raises(RequestError, match=f"is in use by process {os.getpid()} since"),
        Store(tmp_path).lock(),
    ):
        pass
    with store.lock():
        pass


@pytest.mark.parametrize("orphan", [False, True])
def test_kill_9_frees_the_store_even_if_a_forked_child_lives_on(tmp_path: Path, orphan: bool) -> None:
    holder = _start("hold", tmp_path, int(orphan))
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with (
            pytest.raises(RequestError, match=f"is in use by process {holder.pid} since"),
            Store(tmp_path).lock(),
        ):
            pass
        holder.kill()
        holder.wait()
        with Store(tmp_path).lock():
            pass
    finally:
        holder.kill()
        if child:
            os.kill(child, signal.SIGKILL)
        holder.communicate()


def test_a_lock_on_a_file_that_was_replaced_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "store.lock", store_files._lock_descriptor
    lock = store_files.FileLock(path)
    replaced: list[Path] = []

    def lock_and_replace(descriptor: int, wait: bool) -> None:
        real(descriptor, wait)
        if not replaced:
            replaced.append(path.rename(tmp_path / "elsewhere"))

    monkeypatch.setattr(store_files, "_lock_descriptor", lock_and_replace)
    lock.acquire(wait=False)

    assert json.loads(path.read_bytes())["pid"] == os.getpid()
    with pytest.raises(store_files.Busy):
        store_files.FileLock(path).acquire(wait=False)
    lock.release()


def test_waiting_processes_share_the_work_without_doubles(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    _write_missing(Store(tmp_path / "reference"), PACKS)

    racers = [_start("run", path, "wait") for _ in range(4)]
    outputs = [racer.communicate()[0] for racer in racers]

    assert [racer.returncode for racer in racers] == [0] * 4, outputs
    store = Store(path)
    assert store.digest() == Store(tmp_path / "reference").digest()
    assert len(list((path / "shards").glob("*.json"))) == PACKS
    assert store.problems == []


def test_reading_copes_with_a_process_that_writes_and_compacts(tmp_path: Path) -> None:
    path, packs = tmp_path / "runs", 60
    _write_missing(Store(tmp_path / "reference"), packs)
    store = Store(path)

    writer = _start("churn", path, packs)
    counts = [0]
    while writer.poll() is None:
        found = set(store.cached())
        frame = store.records()
        assert found <= set(frame["cell_id"])
        assert len(store.history(found)) == 3 * len(found)
        counts.append(len(found))
    writer.communicate()

    assert writer.returncode == 0
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert store.digest() == Store(tmp_path / "reference").digest()
    assert store.problems == []


def test_a_forked_child_cannot_write(tmp_path: Path) -> None:
    done = _script("fork-and-write", tmp_path)

    assert done.stdout.strip() == "Writing to a store needs `with store.lock():`."


# The victims


def _run(path: Path, wait: bool) -> int:
    try:
        _write_missing(Store(path), PACKS, lambda number: print(number, flush=True), wait=wait)
    except (StoreError, RequestError) as error:
        print(error, flush=True)
        return 1
    return 0


def _hold(path: Path, orphan: bool) -> None:
    with Store(path).lock():
        child = os.fork() if orphan else 0
        if not orphan or child:
            print(child, flush=True)
        os.close(1)
        time.sleep(60)


def _churn(path: Path, packs: int) -> None:
    for last in range(1, packs + 1, 3):
        _write_missing(Store(path, compact_above=2), min(last + 2, packs))


def _fill(mount: Path) -> dict[str, Any]:
    """Fill a disk of 1 MB until it refuses, look, free some space and go on."""
    ballast = mount / "ballast"
    ballast.write_bytes(bytes(200_000))
    store, committed, error = Store(mount / "runs"), 0, ""
    rng = random.Random(0)
    with store.lock():
        environment = store.begin_run(ENVIRONMENT)
        while not error:
            record = {"cell_id": f"{committed:016x}", "status": "ok", "reason": rng.randbytes(20_000).hex()}
            try:
                store.write([record], [], environment)
                committed += 1
            except StoreError as failure:
                error = str(failure)
        cached = len(store.cached())
        leftovers = [entry.name for entry in (mount / "runs" / "shards").glob("*.tmp")]
    again = Store(mount / "runs")
    found = len(again.cached())
    ballast.unlink()
    with again.lock():
        again.write([record], [], again.begin_run(ENVIRONMENT))
    return {
        "error": error,
        "committed": committed,
        "cached": cached,
        "cached by another": found,
        "leftovers": leftovers,
        "resumed": len(Store(mount / "runs").records()),
        "problems": again.problems + store.problems,
    }


def _careless(folder: Path) -> dict[str, Any]:
    """A campaign against a store whose writes are not synced."""

    def write(path: Path, content: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(descriptor, content)
        os.close(descriptor)

    store_files._write_synced = write
    return _campaign(folder, 120, ["power"], ["fresh"])


def _fork_and_write(path: Path) -> None:
    store = Store(path)
    with store.lock():
        child = os.fork()
        if child == 0:
            try:
                store.write([], [], "")
            except RuntimeError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def main(what: str, folder: str, *rest: str) -> int:
    """Play one of the victims."""
    path = Path(folder)
    if what == "run":
        return _run(path, bool(rest))
    if what == "campaign":
        print(json.dumps(_campaign(path, int(rest[0]), MODES, list(SCENES))))
    elif what == "careless":
        print(json.dumps(_careless(path)))
    elif what == "hold":
        _hold(path, rest == ("1",))
    elif what == "churn":
        _churn(path, int(rest[0]))
    elif what == "fill":
        print(json.dumps(_fill(path)))
    elif what == "fork-and-write":
        _fork_and_write(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
