"""GPUs: which there are, how many a cell needs, and what each worker gets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recipebench.benchmarks import gpus, runner
from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.executor import LocalExecutor
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.runner import Options
from recipebench.benchmarks.suite import load_suite
from recipebench.errors import RequestError


@pytest.mark.parametrize(
    ("variable", "there", "expected"),
    [
        (None, 0, ()),
        (None, 2, ("0", "1")),
        ("3,1", 8, ("3", "1")),
        ("GPU-4f, MIG-9a", 8, ("GPU-4f", "MIG-9a")),
        ("", 8, ()),
        ("-1", 8, ()),
    ],
)
def test_the_visible_gpus_are_those_that_cuda_would_see(
    variable: str | None, there: int, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    monkeypatch.setattr(gpus, "gpu_names", lambda: ("an H100",) * there)

    assert gpus.visible() == expected


@pytest.mark.parametrize(
    ("there", "group", "per_pack", "expected"),
    [
        ("", 1, 1.0, ()),
        ("01", 1, 1.0, ("0", "1")),
        ("01", 1, 0.34, ("0", "1", "0", "1")),
        ("0", 1, 0.1, ("0",) * 10),
        ("0123", 2, 1.0, ("0,1", "2,3")),
        ("012", 2, 0.5, ("0,1",)),
        ("0", 2, 1.0, ()),
    ],
)
def test_workers_share_gpus_or_groups_of_them(
    there: str, group: int, per_pack: float, expected: tuple[str, ...]
) -> None:
    assert gpus.shares(list(there), group, per_pack) == expected


def test_there_is_one_worker_a_gpu_or_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "visible", lambda: ("0", "1"))
    suite = {"name": "one", "data": ["digits"], "matrix": {"activation": ["relu"]}, "seeds": 1}
    (cell,) = expand(load_suite(suite))

    def workers(device: str, **options: float | int) -> tuple[int, tuple[str, ...]]:
        packs = [Pack((replace(cell, device=device),))] * 9
        with runner.executor_for(packs, Options(**options), False) as executor:  # type: ignore[arg-type]
            assert isinstance(executor, LocalExecutor)
            return executor.slots, executor.gpus

    assert workers("gpu") == (2, ("0", "1"))
    assert workers("gpu", gpus_per_pack=0.25) == (8, ("0", "1") * 4)
    assert workers("gpu:2", gpus_per_pack=0.25) == (1, ("0,1",))
    assert workers("gpu", workers=3) == (3, ("0", "1"))
    assert workers("cpu", workers=3) == (3, ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": "rai"}, "Unknown executor 'rai'. Known: local, ray. Did you mean 'ray'?"),
        ({"address": "h:1"}, "--address: only the executor ray has one; give --executor ray."),
        ({"gpus_per_pack": 0}, "--gpus-per-pack: expected a number above 0 and up to 1, got 0."),
        ({"gpus_per_pack": 1.5}, "--gpus-per-pack: expected a number above 0 and up to 1, got 1.5."),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float | str], message: str) -> None:
    with pytest.raises(RequestError) as refused:
        Options(**options)  # type: ignore[arg-type]

    assert str(refused.value) == message


def test_without_ray_its_executor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "recipebench.benchmarks.executor_ray", None)
    with pytest.raises(ModuleNotFoundError):  # another module that is not there is no word about Ray
        runner.executor_for([], Options(executor="ray"), False)
    monkeypatch.delitem(__import__("sys").modules, "recipebench.benchmarks.executor_ray")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)

    with pytest.raises(RequestError, match=r"--executor ray needs Ray: pip install 'recipebench\[ray\]'\."):
        runner.executor_for([], Options(executor="ray"), False)


@pytest.mark.parametrize(
    ("variable", "free", "expected"),
    [(None, [], None), (None, [30, 20], 20), ("0", [30, 20], 30), ("GPU-4f", [30, 20], 20)],
)
def test_free_memory_is_the_least_of_those_that_are_used(
    variable: str | None, free: list[int], expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    monkeypatch.setattr(gpus, "gpu_names", lambda: ("an H100",) * len(free))
    monkeypatch.setattr(gpus, "gpu_free_bytes", lambda: free)

    assert gpus.free_memory() == expected


@pytest.mark.parametrize(
    ("options", "workers", "memory"),
    [
        (Options(), 2, 80e9),
        (Options(gpus_per_pack=0.25), 8, 20e9),
        (Options(workers=3), 3, 40e9),
        (Options(executor="ray"), Options().processes, None),
    ],
)
def test_workers_that_share_a_gpu_share_its_memory(
    options: Options, workers: int, memory: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "visible", lambda: ("0", "1"))
    monkeypatch.setattr(gpus, "free_memory", lambda: 80e9)
    on_cpu, *cells = list(expand(load_suite("quick")))[:3]

    assert runner._places([replace(cell, device="gpu") for cell in cells], options) == (workers, memory)
    assert runner._places([on_cpu], options) == (options.processes, None)
