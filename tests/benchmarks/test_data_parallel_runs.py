"""Runs on several processes: lost ones, what is left behind, what is planned, counted and reported."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import recipebench as rb
from recipebench.benchmarks import crew, data_parallel, devices, executor, recorder
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.crew import RankError
from recipebench.benchmarks.data_parallel import LostRankError
from recipebench.benchmarks.devices import unavailable, why_not
from recipebench.benchmarks.executor import Event, LocalExecutor
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.training import train
from recipebench.lightning_modules import MODELS, SupervisedModule, scores
from recipebench.lightning_modules.model_catalog import MODELS as LEVELS
from recipebench.lightning_modules.model_catalog import one_device_only

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`:UserWarning")

Children = Callable[[int], set[int]]


@pytest.fixture(scope="module", autouse=True)
def nobody_stays() -> Iterator[None]:
    """End the processes that wait for more when the tests of this module are over."""
    yield
    crew.dismiss()


SCRIPT = """
import os
from recipebench.benchmarks import training, worker
def train_share(cells, data_dir, share, *rest, **options):
    {body}
training.train_share = train_share
worker.main()
"""
"""A process beside the first that does something else than to train."""


NOT_JOINING = """
import os
from recipebench.benchmarks import crew, worker
came = crew.joined
def joined(*given):
    {body}
crew.joined = joined
worker.main()
"""
"""A process beside the first that says that it is joining and does something else."""


def cells(epochs: int = 2, device: str = "cpu:2", seeds: int = 2) -> tuple[Cell, ...]:
    suite = {
        "name": "few",
        "data": [{"synthetic_regression": {"n": 60}}],
        "matrix": {"model": ["linear_regression"]},
        "seeds": seeds,
        "device": device,
        "protocol": {"epochs": epochs, "batch_size": 10},
    }
    return tuple(expand(load_suite(suite)))


def kinds(events: Sequence[Event]) -> list[str]:
    return [event.kind for event in events if event.kind != "epoch"]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def test_whichever_process_is_killed_the_pack_is_tried_again_and_nobody_stays_behind(
    children: Children, alive: Callable[[int], bool]
) -> None:
    events: list[Event] = []
    first, second = set[int](), set[int]()

    with LocalExecutor(1) as local:
        for event in local.run([Pack(cells(epochs=3000))]):  # long enough to be met while it trains
            events.append(event)
            if event.kind == "epoch" and not first:
                (worker,) = children(os.getpid())
                first = {worker, *children(worker)}
                os.kill(worker, signal.SIGKILL)
            elif event.kind == "epoch" and "retried" in kinds(events) and not second:
                assert wait_until(lambda left=tuple(first): not any(map(alive, left)), 5)
                (worker,) = children(os.getpid())
                second = {worker, *children(worker)}
                (rank,) = children(worker)
                os.kill(rank, signal.SIGKILL)
            elif kinds(events).count("retried") == 2:
                break

    reasons = [event.reason for event in events if event.kind == "retried"]
    assert reasons[0].startswith("worker killed by signal 9")
    assert "LostRankError: rank 1: worker killed by signal 9" in reasons[1]
    assert (len(first), len(second)) == (2, 2)
    assert wait_until(lambda: not any(map(alive, second)), 5)


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        ("os.kill(os.getpid(), 19)", LostRankError, "rank 1 has not answered for 1 seconds"),
        ("raise ValueError('only here')", RankError, "rank 1: ValueError: only here"),
    ],
    ids=["hangs", "raises"],
)
def test_a_process_that_hangs_or_raises_holds_up_nobody(
    body: str,
    error: type[Exception],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    children: Children,
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(SCRIPT.format(body=body))
    crew.dismiss()
    monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-P", str(script)))
    monkeypatch.setattr(data_parallel, "TIMEOUT", timedelta(seconds=1))
    monkeypatch.setattr(crew, "GRACE", 1.0 if "kill" in body else crew.GRACE)

    with pytest.raises(error, match=reason):
        train(cells(seeds=1), None)

    assert wait_until(lambda: not children(os.getpid()))


@pytest.mark.parametrize(
    ("body", "error", "reason"),
    [
        ("raise ConnectionError('no way')", RankError, "rank 1: ConnectionError: no way"),
        ("os.kill(os.getpid(), 9)", LostRankError, "rank 1: worker killed by signal 9"),
    ],
    ids=["raises", "dies"],
)
def test_a_process_that_does_not_come_to_the_meeting_is_told_at_once(
    body: str, error: type[Exception], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(NOT_JOINING.format(body=body))
    crew.dismiss()
    monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-P", str(script)))
    waited: list[object] = []
    monkeypatch.setattr(
        data_parallel.distributed, "init_process_group", lambda *_, **more: waited.append(more)
    )

    with pytest.raises(error, match=reason):
        train(cells(seeds=1), None)

    assert waited == []


def test_a_process_that_hangs_before_the_meeting_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: Children
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        NOT_JOINING.format(
            body="os.kill(os.getpid(), 19) if given[1].rank == 2 else None; return came(*given)"
        )
    )
    crew.dismiss()
    monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-P", str(script)))
    monkeypatch.setattr(data_parallel, "TIMEOUT", timedelta(seconds=1))

    with pytest.raises(LostRankError, match="rank 2 has not come for 1 seconds"):
        train(cells(seeds=1, device="cpu:3"), None)

    assert wait_until(lambda: not children(os.getpid()))


def test_packs_of_several_processes_take_the_places_of_as_many_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = [
        "import json, sys",
        "print(json.dumps({'kind': 'ready'}), flush=True)",
        "for line in sys.stdin:",
        "    print(json.dumps({'kind': 'done', 'records': [], 'history': []}), flush=True)",
    ]
    monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-c", "\n".join(lines)))
    packs = [Pack((cell,)) for device in ("cpu:2", "cpu", "cpu:4", "gpu") for cell in cells(device=device)]
    busy: dict[int, int] = {}
    most = 0

    with LocalExecutor(3) as local:
        for event in local.run(packs):
            if event.kind == "started":
                busy[event.worker] = {"cpu:2": 2, "cpu": 1}.get(event.pack.cells[0].device, 3)
                most = max(most, sum(busy.values()))
                assert sum(busy.values()) <= 3
            else:
                del busy[event.worker]

    assert most == 3
    assert not busy


def test_devices_and_models_that_do_not_fit_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "usable_cores", lambda: 2)
    monkeypatch.setattr(devices, "_gpus", lambda: ("one", "two"))
    monkeypatch.setattr(devices, "torch_has_cuda", lambda: False)

    assert unavailable("cpu:4") is None
    assert unavailable("cpu:64") == (
        "device cpu:64 is not available: up to cpu:4 fits this machine, whose 2 cores run one process each"
    )
    assert unavailable("gpu:3") == "device gpu:3 is not available: 2 of 3 graphics processors are found here"
    assert unavailable("gpu") == "device gpu is not available: this build of torch has no CUDA"
    perceptron = {
        "name": "p",
        "data": ["gates"],
        "matrix": {"model": ["perceptron"]},
        "device": ["cpu", "cpu:2"],
    }
    one, two = list(expand(load_suite({**perceptron, "seeds": 1})))
    assert why_not(one) is None
    assert why_not(two) == (
        "model perceptron trains on one device, not on cpu:2: it is not trained by the gradients of batches"
    )


@pytest.mark.parametrize("name", [name for name in MODELS if name != "dqn"])
def test_models_that_torch_trains_on_samples_can_be_spread_and_no_others(name: str) -> None:
    level = LEVELS[name]

    assert (one_device_only(level) is None) == issubclass(MODELS[name], SupervisedModule)


def test_two_processes_score_every_one_of_10_000_test_samples_once(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = {
        "name": "many",
        "data": [{"synthetic_regression": {"n": 50_000}}],
        "matrix": {"model": ["linear_regression"], "batch_size": ["full"]},
        "seeds": 1,
        "device": ["cpu", "cpu:2"],
        "protocol": {"epochs": 1},
    }
    counted: list[int] = []
    summed: list[float] = []

    def tally(task: str, outputs: Any, *rest: Any, members: int) -> Any:
        counted.append(len(outputs))
        return scores.tally(task, outputs, *rest, members=members)

    def summarize(task: str, total: Sequence[float]) -> dict[str, float]:
        summed.append(total[0])
        return scores.summarize(task, total)

    monkeypatch.setattr(recorder, "tally", tally)
    monkeypatch.setattr(recorder, "summarize", summarize)
    rows = []
    for cell, own in zip(expand(load_suite(suite)), (24_000, 12_000), strict=True):
        counted.clear()
        summed.clear()
        rows.append(train([cell], None)[0].track.history)
        assert summed == [10_000, 4_000, 10_000] * 2  # training subset, validation, test; before and after
        assert sum(counted) == 2 * own

    times = {"seconds": 0.0}
    assert rows[0][0] | times == rows[1][0] | times  # the untrained networks: the very bits


def test_a_suite_on_one_and_two_processes_is_run_reported_and_done(tmp_path: Path) -> None:
    suite: dict[str, Any] = {
        "name": "both",
        "data": ["digits"],
        "matrix": {
            "model": ["softmax_regression", {"mlp_scratch": {"hidden": [7]}}],
            "optimizer": [{"sgd": {"lr": 0.1}}, {"sgd": {"lr": 0.2}}],
        },
        "seeds": 2,
        "device": ["cpu", "cpu:2", "cpu:9999", "gpu:2"],
        "protocol": {"epochs": 2, "train_samples": 200},
    }

    records = rb.run(suite, store=tmp_path / "runs", workers=2, quiet=True)
    page = rb.report(suite, store=tmp_path / "runs", out=tmp_path / "report")

    done = records[records["status"] == "ok"].set_index(["device", "model", "optimizer.lr", "seed"])
    assert dict(records.groupby("device")["status"].agg(lambda s: "-".join(sorted(set(s))))) == {
        "cpu": "ok",
        "cpu:2": "missing-ok",
        "cpu:9999": "missing",
        "gpu:2": "missing",
    }
    reasons = " ".join(records["reason"].dropna())
    assert "its step is written out for one" in reasons
    assert "up to cpu:" in reasons
    assert "no graphics processor is found" in reasons
    two, one = (done.loc[device].loc["softmax_regression"] for device in ("cpu:2", "cpu"))
    assert list(two.index) == list(one.index)
    assert (two["test_loss"] - one["test_loss"]).abs().max() < 1e-5
    assert (two["steps"] == one["steps"]).all()
    shown = Path(page).read_text(encoding="utf-8")
    assert "cpu:2" in shown
    assert "device" in (tmp_path / "report" / "summary.md").read_text(encoding="utf-8")
    assert (
        rb.run(suite, store=tmp_path / "runs", quiet=True)["pack_seconds"].dropna()
        == records["pack_seconds"].dropna()
    ).all()  # nothing was trained twice
