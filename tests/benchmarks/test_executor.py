"""Workers: what they send, and what becomes of cells whose worker raises, dies, babbles or never starts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import recipebench
from recipebench.benchmarks import executor
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.executor import Event, Executor, LocalExecutor, Message, WorkerError
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.worker import measure

Script = Callable[[str], None]


def cells(count: int, epochs: int = 2) -> tuple[Cell, ...]:
    suite = {
        "name": "few",
        "data": [{"synthetic_regression": {"n": 60}}],
        "matrix": {"model": ["linear_regression"]},
        "seeds": count,
        "protocol": {"epochs": epochs, "batch_size": 10},
    }
    return tuple(expand(load_suite(suite)))


def run(packs: Sequence[Pack], workers: int = 1) -> list[Event]:
    with LocalExecutor(workers) as local:
        return list(local.run(packs))


def ends(events: Sequence[Event]) -> dict[str, str]:
    """What became of every cell; each must end once."""
    last = [
        (cell.id, event.kind)
        for event in events
        if event.kind in ("done", "failed")
        for cell in event.pack.cells
    ]
    assert len(dict(last)) == len(last)
    return dict(last)


def test_a_pack_starts_counts_its_epochs_and_is_done() -> None:
    pack = Pack(cells(3))

    events = run([pack])

    assert [(event.kind, event.epoch) for event in events] == [
        ("started", 0),
        ("epoch", 1),
        ("epoch", 2),
        ("done", 0),
    ]
    expected = measure(pack.cells, None, lambda message: None)
    for row in (*expected["records"], *events[-1].records):
        del row["pack_seconds"]
    for row in (*expected["history"], *events[-1].history):
        del row["seconds"]
    assert events[-1].records == expected["records"]
    assert events[-1].history == expected["history"]


@pytest.fixture
def quick_worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replace workers by ones that load nothing: `body` runs for every request, then it is done."""

    def install(body: str) -> None:
        lines = [
            "import json, os, signal, sys, time",
            "print(json.dumps({'kind': 'ready'}), flush=True)",
            "for line in sys.stdin:",
            "    seeds = [cell['seed'] for cell in json.loads(line)['cells']]",
            f"    {body}",
            "    print(json.dumps({'kind': 'done', 'records': [], 'history': []}), flush=True)",
        ]
        monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-c", "\n".join(lines)))

    return install


def test_two_workers_share_the_packs(quick_worker: Script) -> None:
    quick_worker("pass")
    packs = [Pack((cell,)) for cell in cells(4)]

    events = run(packs, workers=2)

    started = [event.worker for event in events if event.kind == "started"]
    assert started[:2] == [0, 1]
    assert ends(events) == {cell.id: "done" for cell in cells(4)}


def test_no_packs_start_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "COMMAND", ("/nowhere/worker",))

    assert run([]) == []


def test_a_worker_that_is_killed_is_replaced_and_its_pack_trained_again(
    children: Callable[[int], set[int]], alive: Callable[[int], bool]
) -> None:
    trained = cells(4, epochs=300)  # long enough to be met while it trains
    packs = [Pack(trained[:2]), Pack(trained[2:])]
    events: list[Event] = []
    victims: set[int] = set()

    with LocalExecutor(1) as local:
        for event in local.run(packs):
            events.append(event)
            if event.kind == "epoch" and not victims:
                victims = children(os.getpid())
                (victim,) = victims
                os.kill(victim, signal.SIGKILL)
        replaced = children(os.getpid())

    assert ends(events) == {cell.id: "done" for cell in trained}
    (retried,) = (event for event in events if event.kind == "retried")
    assert retried.pack is packs[0]
    assert retried.reason == "worker killed by signal 9 (out of memory, if nobody killed it)"
    assert len(replaced) == 1
    assert replaced != victims
    assert not any(map(alive, replaced))


def test_an_idle_worker_that_died_costs_no_pack_its_try(
    quick_worker: Script, children: Callable[[int], set[int]]
) -> None:
    quick_worker("pass")
    one, two = (Pack((cell,)) for cell in cells(2))
    with LocalExecutor(1) as local:
        first = list(local.run([one]))
        (pid,) = children(os.getpid())
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        second = list(local.run([two]))

    assert [event.kind for event in (first[-1], second[-1])] == ["done", "done"]
    assert not [event for event in second if event.kind == "retried"]


def test_a_cell_that_raises_fails_alone_and_its_neighbors_finish(
    worker_script: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    worker_script(
        "print('noise', file=sys.stderr)\n"
        "print('more noise')\n"
        "if any(cell.seed == 2 for cell in cells): raise ValueError('no\\nluck  today')"
    )
    pack = Pack(cells(6))

    events = run([pack])

    expected = {cell.id: "failed" if cell.seed == 2 else "done" for cell in pack.cells}
    assert ends(events) == expected
    failed = next(event for event in events if event.kind == "failed")
    assert failed.reason == "ValueError: no luck today"
    assert failed.traceback.startswith("Traceback (most recent call last)")
    assert "in train" in failed.traceback
    again = [event for event in events if event.kind == "retried"]
    assert len(again) <= 3  # halves of 6, of 3, of 2
    assert capfd.readouterr() == ("", "")


def test_a_recipe_that_cannot_train_on_one_sample_fails_with_torch_s_reason() -> None:
    suite = {
        "name": "norm",
        "data": [{"synthetic_regression": {"n": 60}}],
        "matrix": {"regularizer": ["batch_norm"]},
        "seeds": 2,
        "protocol": {"epochs": 1, "batch_size": 9, "validation": 3},
    }
    fine = list(expand(load_suite(suite)))
    bad = [
        Cell.from_json(cell.to_json() | {"batch_size": 11}) for cell in fine
    ]  # 45 samples: a last batch of 1

    events = run([Pack(tuple(bad)), Pack(tuple(fine))])

    assert ends(events) == {**{cell.id: "failed" for cell in bad}, **{cell.id: "done" for cell in fine}}
    for event in events:
        if event.kind == "failed":
            assert event.reason.startswith("ValueError: Expected more than 1 value per channel when training")
            assert "\n" not in event.reason


def test_a_cell_that_kills_its_worker_is_found_and_given_up(
    quick_worker: Script, capfd: pytest.CaptureFixture[str]
) -> None:
    quick_worker("if 1 in seeds: print('last words', file=sys.stderr); os.kill(os.getpid(), signal.SIGKILL)")

    events = run([Pack(cells(8))])

    assert ends(events) == {cell.id: "failed" if cell.seed == 1 else "done" for cell in cells(8)}
    tries = [event for event in events if event.kind == "started" and cells(8)[1] in event.pack.cells]
    assert [len(event.pack.cells) for event in tries] == [8, 8, 4, 4, 2, 2, 1, 1]
    (failed,) = (event for event in events if event.kind == "failed")
    assert failed.reason == "worker killed by signal 9 (out of memory, if nobody killed it)"
    assert failed.traceback == "last words\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["/nowhere/worker"], "worker lost: FileNotFoundError: "),
        (
            ["-c", "raise SystemExit('no torch here')"],
            "worker ended with exit code 1: no torch here.\nno torch here",
        ),
        (["-c", "print('hello', flush=True); input()"], "worker lost: JSONDecodeError: "),
        (["-c", "print(end='{', flush=True)"], "worker ended with exit code 0: it said nothing."),
        (["-c", "import os; os.abort()"], "worker killed by signal 6."),
    ],
)
def test_workers_that_do_not_start_end_the_run_and_blame_no_cell(
    command: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = [sys.executable] if command[0] == "-c" else []
    monkeypatch.setattr(executor, "COMMAND", (*program, *command))
    events: list[Event] = []

    with pytest.raises(WorkerError) as raised, LocalExecutor(1) as local:
        events.extend(local.run([Pack(cells(2)), Pack(cells(3)[2:])]))

    assert str(raised.value).startswith(f"Workers do not start: {message}")
    with pytest.raises(WorkerError) as alone:
        executor.ask_once(executor.training_request(Pack(cells(1)), None))
    assert str(alone.value).startswith(message)


def test_a_worker_that_once_does_not_start_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = f"""
import json, pathlib
mark = pathlib.Path({str(tmp_path / "mark")!r})
if not mark.exists():
    mark.touch()
    raise SystemExit("not yet")
print(json.dumps({{"kind": "ready"}}), flush=True)
input()
print(json.dumps({{"kind": "done", "records": [], "history": []}}), flush=True)
"""
    monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-c", code))

    events = run([Pack(cells(2))])

    assert [event.kind for event in events] == ["started", "retried", "started", "done"]
    assert events[1].reason == "worker ended with exit code 1: not yet"
    assert len(events[2].pack.cells) == 2


@pytest.mark.parametrize(
    ("last_words", "reason"),
    [
        ("print('hello', flush=True)", "worker lost: JSONDecodeError: "),
        ("print(end='{', flush=True); break", "worker ended with exit code 0: it said nothing"),
        ("os.abort()", "worker killed by signal 6"),
        ("raise SystemExit('bye')", "worker ended with exit code 1: bye"),
    ],
)
def test_a_worker_that_fails_at_its_cells_fails_them(
    last_words: str, reason: str, quick_worker: Script
) -> None:
    quick_worker(last_words)

    events = run([Pack(cells(2))])

    assert ends(events) == {cell.id: "failed" for cell in cells(2)}
    assert all(event.reason.startswith(reason) for event in events if event.kind == "failed")


def test_out_of_memory_is_called_so(worker_script: Script) -> None:
    worker_script("raise RuntimeError('[enforce fail] DefaultCPUAllocator: can not allocate memory')")

    (failed,) = (event for event in run([Pack(cells(1))]) if event.kind == "failed")

    assert failed.reason == "out of memory"


def test_a_pack_that_runs_out_of_memory_is_halved_until_it_fits(worker_script: Script) -> None:
    worker_script(
        "import torch\n"
        "if len(cells) > 2: raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB.')"
    )

    events = run([Pack(cells(5))])

    assert ends(events) == {cell.id: "done" for cell in cells(5)}
    assert {event.reason for event in events if event.kind == "retried"} == {"out of memory"}
    assert sorted(len(event.pack.cells) for event in events if event.kind == "retried") == [3, 5]


def test_an_error_that_a_device_does_not_recover_from_ends_the_worker(worker_script: Script) -> None:
    worker_script(
        "import torch\n"
        "if len(cells) > 1: raise torch.AcceleratorError('CUDA error: an illegal memory access')"
    )

    events = run([Pack(cells(2))])

    assert ends(events) == {cell.id: "done" for cell in cells(2)}
    retried = [event.reason for event in events if event.kind == "retried"]
    assert len(retried) == 2  # once more whole, by a new worker, then halved
    assert all("AcceleratorError: CUDA error: an illegal memory access" in reason for reason in retried)


def test_leaving_early_ends_the_workers(
    quick_worker: Script, children: Callable[[int], set[int]], alive: Callable[[int], bool]
) -> None:
    quick_worker("print(json.dumps({'kind': 'epoch', 'epoch': 1}), flush=True); time.sleep(1000)")
    begun = set()

    with LocalExecutor(2) as local:
        for event in local.run([Pack((cell,)) for cell in cells(3)]):
            begun |= {event.worker} if event.kind == "epoch" else set()
            if len(begun) == 2:
                break
        workers = children(os.getpid())

    assert len(workers) == 2
    assert not any(map(alive, workers))


def test_a_worker_has_one_thread_and_this_copy_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import json, os, recipebench
input()
found = [os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"], recipebench.__file__]
print(json.dumps({"kind": "error", "traceback": "", "reason": " ".join(found)}), flush=True)
"""
    monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-P", "-c", code))
    monkeypatch.setenv("OMP_NUM_THREADS", "8")

    (failed,) = (event for event in run([Pack(cells(1))]) if event.kind == "failed")

    assert failed.reason == f"1 1 {os.path.realpath(str(recipebench.__file__))}"


def test_a_request_survives_the_way_to_the_worker() -> None:
    (cell,) = cells(1)

    request: dict[str, Any] = executor.training_request(Pack((cell,)), None)

    assert [Cell.from_json(one) for one in request["cells"]] == [cell]
    assert request["data_dir"] is None


class Scripted(Executor):
    """Answers every pack with the next of some messages, then `done`."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(slots=1)
        self.waiting = list(messages)

    def __exit__(self, *exception: object) -> None:
        pass

    def _start(self, number: int, pack: Pack) -> None:
        assert number == 0

    def _next(self) -> tuple[int, Message]:
        done = {"kind": "done", "records": [], "history": []}
        return 0, self.waiting.pop(0) if self.waiting else done


def scripted(*kinds: str, size: int = 2) -> list[tuple[str, int]]:
    """Return what is yielded, with the size of the pack, where the messages have these kinds."""
    messages = [{"kind": kind, "reason": kind, "traceback": ""} for kind in kinds]
    with Scripted(*messages) as executor:
        events = list(executor.run([Pack(cells(size))]))
    return [(event.kind, len(event.pack.cells)) for event in events if event.kind != "started"]


def test_a_pack_whose_machine_is_lost_is_tried_elsewhere_more_often_than_one_whose_worker_dies() -> None:
    assert scripted("lost", "lost", "lost") == [("retried", 2)] * 3 + [("done", 2)]
    assert scripted(*["lost"] * 4) == [("retried", 2)] * 4 + [("done", 1)] * 2
    assert scripted("died", "lost", "died") == [("retried", 2)] * 3 + [("done", 1)] * 2
    assert scripted(*["lost"] * 4, size=1) == [("retried", 1)] * 3 + [("failed", 1)]


def test_a_machine_that_must_not_be_used_ends_the_run_at_once() -> None:
    with pytest.raises(WorkerError, match=r"^unfit\.$"):
        scripted("unfit")


def test_local_workers_see_their_share_of_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import json, os
print(json.dumps({"kind": "ready"}), flush=True)
while input():
    reason = os.environ.get("CUDA_VISIBLE_DEVICES", "as it was")
    print(json.dumps({"kind": "error", "reason": reason, "traceback": ""}), flush=True)
"""
    monkeypatch.setattr(executor, "COMMAND", (sys.executable, "-c", code))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def seen(workers: int, gpus: Sequence[str]) -> dict[int, str]:
        with LocalExecutor(workers, gpus=gpus) as local:
            events = list(local.run([Pack((cell,)) for cell in cells(4)]))
        return {event.worker: event.reason for event in events if event.kind == "failed"}

    assert set(seen(1, ()).values()) == {"as it was"}
    found = seen(3, ("0,1", "2,3"))
    assert {**{0: "0,1", 1: "2,3", 2: "0,1"}, **found} == {0: "0,1", 1: "2,3", 2: "0,1"}
    assert found[0] == "0,1"
