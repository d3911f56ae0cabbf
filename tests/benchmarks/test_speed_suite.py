"""The speed suite has a case for every level, each does what it says, and what a run saves can be read."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from recipebench import plugins
from recipebench.benchmarks.speed import bench_cases, command, loaders, runner, steps
from recipebench.benchmarks.speed.cases import OWN_PHASES, PHASES, SIZES, TIMED, Case, cases, in_passes
from recipebench.benchmarks.speed.steps import NARROW, WIDE, Alone, Together
from recipebench.errors import RequestError
from recipebench.lightning_modules.catalog import FACTORS
from recipebench.reports import speed

ALL = cases(["cpu"])
QUICK = [case for case in ALL if case.members < 32]

TINY = "initializer-he"
"""Part of the names of the four cases that are run from end to end."""

PLUGIN = """\
import torch
from torch import nn
from recipebench.plugins import activation, loss

@activation
class Wave(nn.Module):
    '''sin x.'''
    def forward(self, x):
        return torch.sin(x)

@loss
def fourth(outputs, targets):
    '''(o - y)⁴.'''
    return (outputs - targets).pow(4).mean(1)
"""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logger = logging.getLogger("pytorch_lightning")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run of a few cases, timed by the command in a process and a folder of its own."""
    folder = tmp_path_factory.mktemp("speed")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    words = ["-m", "recipebench.benchmarks.speed", "--store", "runs", "--only", TINY]
    words += ["--passes", "2", "--seconds", "0.001"]
    own = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, env=own)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = (folder / "runs" / "speed").iterdir()
    assert f"Saved: {Path('runs', 'speed', file.name)}" in done.stdout
    return folder / "runs"


def _phases(factor: str, level: str) -> set[str]:
    return {case.phase for case in ALL if (case.factor, case.level) == (factor, level)}


def test_every_level_of_every_factor_has_its_cases() -> None:
    for factor in TIMED:
        for level in FACTORS[factor]:
            assert _phases(factor, level) == {*PHASES, *OWN_PHASES.get(factor, ())}, f"{factor} {level}"


def test_only_schedules_are_left_out() -> None:
    assert set(FACTORS) - set(TIMED) == {"schedule"}


def test_loaders_and_packs_have_their_cases() -> None:
    assert {case.level for case in ALL if case.factor == "loader"} == set(loaders.LEVELS)
    packs = {(case.setting, case.members) for case in ALL if case.factor == "pack"}
    assert packs == {(shape.label(), k) for shape in (WIDE, NARROW) for k in SIZES}


def test_names_are_unique_and_groups_hold_their_baseline() -> None:
    assert len({case.id for case in ALL}) == len(ALL)
    assert [case.place for case in ALL] == list(range(len(ALL)))
    for case in ALL:
        peers = [other.level for other in ALL if other.group == case.group]
        assert case.baseline in peers
        assert len(peers) == len(set(peers))


@pytest.mark.parametrize("case", QUICK, ids=lambda case: case.id)
def test_a_case_runs(case: Case) -> None:
    case.ready()()


def test_another_device_has_the_same_cases() -> None:
    here = {(case.factor, case.level, case.phase, case.setting) for case in ALL if case.members == 1}
    found = [case for case in cases(["cpu", "meta"]) if case.device == "meta"]
    there = {(case.factor, case.level, case.phase, case.setting) for case in found if case.members == 1}

    assert {case for case in here if case[0] != "pack"} == {case for case in there if case[0] != "pack"}


def test_a_step_that_learns_nothing_is_refused() -> None:
    alone = Alone(NARROW, "cpu")
    alone.optimizer.param_groups[0]["lr"] = 0.0
    with pytest.raises(AssertionError, match="learned nothing"):
        alone.checked_step()

    together = Together(NARROW, 3, "cpu")
    together.optimizers[0].param_groups[0]["lr"] = 1e6
    with pytest.raises(AssertionError, match="learned nothing"):
        together.checked_step()


def test_the_parts_of_a_step_are_the_step() -> None:
    whole, parts = Alone(NARROW, "cpu", optimizer="adam"), Alone(NARROW, "cpu", optimizer="adam")

    whole.step()
    parts.update()()

    for mine, other in zip(whole.module.parameters(), parts.module.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_the_backward_pass_gives_the_gradients_of_the_step_and_can_be_repeated() -> None:
    alone, other = Alone(NARROW, "cpu", regularizer="l2"), Alone(NARROW, "cpu", regularizer="l2")
    other.loss().backward()

    backward = alone.backward()
    for _ in range(2):
        gradients = backward()
        assert isinstance(gradients, tuple)
        for found, parameter in zip(gradients, other.module.parameters(), strict=True):
            assert torch.equal(found, parameter.grad)


def test_a_member_of_a_pack_does_what_it_does_alone() -> None:
    together = Together(NARROW, 2, "cpu", optimizer="momentum")
    alone = Alone(NARROW, "cpu", optimizer="momentum")

    for _ in range(3):
        first = together.step()[0].item()
        loss = alone.loss()
        assert loss.item() == pytest.approx(first, rel=1e-6)
        alone.optimizer.zero_grad()
        loss.backward()
        alone.optimizer.step()


@pytest.mark.parametrize("setting", list(loaders.SOURCES))
def test_both_loaders_give_the_same_samples(setting: str) -> None:
    sums = []
    for level in loaders.LEVELS:
        loader = loaders.loader(level, setting)
        batches = list(loader)
        assert loaders.epoch(loader, "cpu")() == sum(len(x) for x, _ in batches)
        inputs = torch.cat([x.flatten(1).double().sum(1) for x, _ in batches])
        targets = torch.cat([y for _, y in batches])
        sums.append((sorted(inputs.tolist()), sorted(targets.tolist())))

    assert sums[0] == sums[1]


def test_work_on_a_graphics_processor_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: done.append("waited"))

    steps.synchronized(lambda: done.append("work"), "cuda")()
    assert done == ["work", "waited"]

    steps.synchronized(lambda: done.append("work"), "cpu")()
    assert done == ["work", "waited", "work"]


def test_each_device_has_its_clock() -> None:
    case = ALL[0]

    assert bench_cases.clock(case) is time.process_time
    assert bench_cases.clock(next(iter(_moved(case)))) is time.perf_counter


def _moved(case: Case) -> Iterator[Case]:
    facts = {**case.facts(), "device": "cuda"}
    yield Case(**facts, prepare=case.prepare)  # type: ignore[arg-type]


def test_passes_hold_all_cases_each_in_an_order_of_its_own() -> None:
    ordered = in_passes(QUICK, 3)

    orders = [[case.id for case, number in ordered if number == k] for k in (1, 2, 3)]
    assert [number for _, number in ordered] == sorted(number for _, number in ordered)
    assert all(sorted(order) == sorted(case.id for case in QUICK) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert in_passes(QUICK, 3) == ordered


def test_a_run_is_saved_in_a_store_and_read_back(saved: Path) -> None:
    file = speed.newest(saved / "speed")
    assert file is not None
    run = speed.load(file)

    assert set(run.passes["phase"]) == {*PHASES, "initialization"}
    assert (run.cases["level"] == "he").all()
    assert (run.cases["passes"] == 2).all()
    assert (run.passes["median"] > 0).all()
    assert (run.passes["rounds"] >= 5).all()
    assert run.cases["phase"].tolist() == [case.phase for case in cases(["cpu"], TINY)]
    assert (saved / "store.json").exists()


def test_a_run_says_on_what_machine_and_nothing_of_its_name(saved: Path) -> None:
    file = speed.newest(saved / "speed")
    assert file is not None
    content = json.loads(file.read_text())

    assert "node" not in content["machine_info"]
    facts = content["machine_info"]["recipebench"]
    assert facts["threads"] == 1
    assert facts["torch"] == torch.__version__
    assert facts["variables"]["MKL_CBWR"] == os.environ["MKL_CBWR"]
    assert facts["cpu_class"] in file.name
    assert set(content["commit_info"]) == {"id", "dirty"}
    assert {b["options"]["timer"] for b in content["benchmarks"]} == {"process_time"}
    assert all(b["options"]["warmup"] for b in content["benchmarks"])


def test_saved_runs_are_shown_and_compared(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(speed.newest(saved / "speed"))

    assert command.main(["show", file]) == 0
    assert "## initializer" in capsys.readouterr().out
    assert command.main(["compare", file, file]) == 0
    assert "median ratio 1.000; 0 of the intervals" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--only", "nothing"], "a part of a case's name"),
        (["--device", "tpu"], "Unknown device 'tpu'"),
        (["--passes", "0"], "at least 1 pass"),
        (["--seconds", "nan"], "more than 0 seconds"),
        (["show", "no.json"], "no.json cannot be read"),
        (["--plugin", "no.py"], "no.py"),
    ],
)
def test_a_wrong_request_is_refused(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command.main([*words, *([] if words[0] == "show" else ["--store", str(tmp_path / "s")])]) == 2

    assert expected in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_without_pytest_benchmark_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "find_spec", lambda name: None)

    with pytest.raises(RequestError, match=r"recipebench\[speed\]"):
        runner.Settings().check()


def test_a_file_that_exists_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "times.json"
    file.write_text("precious")

    with pytest.raises(RequestError, match="expected a new file"):
        runner.run(runner.Settings(only=TINY), out=file)
    assert file.read_text() == "precious"


def test_levels_of_ones_own_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.py"
    file.write_text(PLUGIN, encoding="utf-8")
    try:
        assert command.main(["--plugin", str(file), "--only", "wave", "--list"]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 3
        for case in [*cases(["cpu"], "wave"), *cases(["cpu"], "fourth-step")]:
            case.ready()()
        assert {case.setting for case in cases(["cpu"], "fourth")} == {WIDE.label("regression")}
    finally:
        plugins.unload()
