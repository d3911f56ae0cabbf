"""A run that is killed or interrupted at any moment goes on where it stopped and ends with the same store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import recipebench as rb
from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs process groups and /proc")

KILLS = 10
PATIENCE = 120.0
"""Seconds after which something that must happen is taken to hang."""

SUITE = {
    "name": "resumed",
    "data": ["digits", {"synthetic_regression": {"n": 200}}],
    "model": {"mlp": {"hidden": [6]}},
    "matrix": {
        "activation": ["relu", "sigmoid"],
        "regularizer": ["none", "l2", {"early_stopping": {"patience": 1}}],
        "optimizer": ["sgd", {"momentum": {"lr": 0.4}}, "adam"],
    },
    "seeds": 4,
    "protocol": {"epochs": 3, "batch_size": 32},
}
CELLS = 2 * 2 * 3 * 3 * 4
DIVERGED = 6

Children = Callable[[int], set[int]]
Start = Callable[..., "Run"]


class Run:
    """`recipebench run` as a process group of its own, with one worker."""

    def __init__(self, folder: Path, pack_size: int) -> None:
        self.store = folder / "runs"
        self.shards_before = self.shards()
        arguments = ["run", "./resumed.yaml", "--workers", "1", "--pack-size", str(pack_size)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recipebench", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def shards(self) -> int:
        return len(list(self.store.glob("shards/*.json")))

    def wait_for(self, happened: Callable[[], bool]) -> bool:
        """Wait until something happened; False if the run ended before."""
        return (
            wait_until(lambda: happened() or self.process.poll() is not None) and self.process.poll() is None
        )

    def wait_for_shards(self, count: int) -> bool:
        return self.wait_for(lambda: self.shards() >= self.shards_before + count)

    def finish(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def end(self) -> None:
        """Leave nothing behind, whatever the test did."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "resumed.yaml").write_text(yaml.safe_dump(SUITE))
    runs: list[Run] = []

    def begin(pack_size: int = 2) -> Run:
        runs.append(Run(tmp_path, pack_size))
        return runs[-1]

    yield begin
    for run in runs:
        run.end()


def wait_until(happened: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if happened():
            return True
        time.sleep(0.002)
    raise TimeoutError("it did not happen")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of a store that was filled without a disturbance, in other packs."""
    store = tmp_path_factory.mktemp("undisturbed") / "runs"
    rb.run(SUITE, store=store, workers=2, quiet=True)
    return Store(store).digest()


def assert_complete(run: Run, expected: str) -> None:
    code, out, _ = run.finish()
    assert code == 0
    assert f"planned {CELLS} = ok {CELLS - DIVERGED} + diverged {DIVERGED} + failed 0 + missing 0" in out
    assert Store(run.store).digest() == expected
    unfinished = {path.parent.name for path in run.store.glob("**/*.tmp")}
    assert unfinished <= {"quarantine"}  # a kill in the middle of a write leaves them there, and says so


def test_killed_at_ten_moments_and_resumed(
    start: Start, children: Children, alive: Callable[[int], bool], expected: str
) -> None:
    """Kills hit the whole group or the parent alone: before, between and inside packs."""
    moments = random.Random(20261121)
    for number in range(KILLS):
        run = start()
        before_first_pack = number in (2, 7)
        if before_first_pack:
            reached = run.wait_for(lambda run=run: bool(children(run.process.pid)))  # type: ignore[misc]
        else:
            reached = run.wait_for_shards(moments.randint(1, 3))
        assert reached, run.finish()
        time.sleep(moments.uniform(0, 0.1))
        workers = children(run.process.pid)
        if number % 2:
            run.process.kill()
        else:
            os.killpg(run.process.pid, signal.SIGKILL)
        assert run.process.wait(PATIENCE) == -signal.SIGKILL
        assert wait_until(lambda workers=workers: not any(map(alive, workers)))  # type: ignore[misc]

    last = start(24)
    assert 0 < len(Store(last.store).cached()) < CELLS
    assert_complete(last, expected)


def test_a_resumed_run_trains_only_what_is_missing(start: Start, expected: str) -> None:
    run = start()
    assert run.wait_for_shards(2)
    os.killpg(run.process.pid, signal.SIGKILL)
    run.process.wait(PATIENCE)
    done = len(Store(run.store).cached())

    second = start(24)
    code, out, err = second.finish()

    assert code == 0
    assert err == ""
    assert f"{CELLS} cells planned, {done} in the store, {CELLS - done} to train." in out
    third = start()
    assert_complete(third, expected)
    assert third.shards() == second.shards()


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_ends_with_130_and_no_orphans(
    signals: int, start: Start, children: Children, alive: Callable[[int], bool]
) -> None:
    run = start()
    assert run.wait_for_shards(1)
    workers = children(run.process.pid)

    for _ in range(signals):
        os.killpg(run.process.pid, signal.SIGINT)
    code, out, err = run.finish()

    assert code == 130
    assert err == "Interrupted. What is finished is kept; the same command goes on from there.\n"
    assert len(workers) == 1
    assert wait_until(lambda: not any(map(alive, workers)))
    assert "planned" not in out.replace("cells planned", "")
    store = Store(run.store)
    assert store.cached()
    with store.lock():  # free again
        assert set(store.cached()) < {cell.id for cell in expand(load_suite(SUITE))}
    assert store.problems == []


def test_a_second_run_is_refused_while_the_first_goes_on(start: Start) -> None:
    first = start()
    assert first.wait_for_shards(1)

    code, _, err = start().finish()

    assert code == 2
    assert "is in use by" in err
    assert first.process.poll() is None


def test_a_worker_that_is_killed_costs_no_cell(start: Start, children: Children, expected: str) -> None:
    run = start(12)
    assert run.wait_for_shards(1)
    (worker,) = children(run.process.pid)

    os.kill(worker, signal.SIGKILL)

    assert_complete(run, expected)
