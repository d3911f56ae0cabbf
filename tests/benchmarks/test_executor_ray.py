"""Ray: two simulated nodes give the bits of one machine, whoever dies; what is sent and refused."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray import exceptions
from ray._private import ray_constants
from ray.cluster_utils import Cluster

from recipebench import plugins
from recipebench.benchmarks import executor_ray, runner
from recipebench.benchmarks.cells import Cell, expand
from recipebench.benchmarks.environment import source_sha256
from recipebench.benchmarks.executor import Event, WorkerError
from recipebench.benchmarks.executor_ray import Parcel, RayExecutor, Terms, resources
from recipebench.benchmarks.packs import Pack
from recipebench.benchmarks.runner import Options
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.worker import measure
from recipebench.datamodules import fetch
from recipebench.errors import RequestError

PATIENCE = 60.0
"""Seconds until something that must happen counts as not happening."""

SUITE: dict[str, Any] = {
    "name": "clustered",
    "data": [{"synthetic_regression": {"n": 60}}],
    "matrix": {
        "model": ["linear_regression"],
        "optimizer": [{"sgd": {"lr": 1e30}}, {"momentum": {"lr": 0.1}}, "adam"],
    },
    "seeds": 4,
    "protocol": {"epochs": 150, "batch_size": 10},  # long enough to be met while it trains
}

NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20}

PLUGIN = '''
from recipebench.plugins import optimizer
import torch

@optimizer
def half_sgd(parameters, *, lr: float = 0.1):
    """SGD at half its rate."""
    return torch.optim.SGD(parameters, lr=lr / 2)
'''


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One node of one core, whose cache folder is its own; the tests add a second one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache_of_nodes")))
        patch.delenv(fetch.ENVIRONMENT, raising=False)
        found = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        patch.undo()
        yield found
        found.shutdown()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the store that `local` writes."""
    store = Store(tmp_path_factory.mktemp("local") / "runs")
    run_with(Options(workers=1), SUITE, store)
    return store.digest()


def eventually(find: Callable[[], Any]) -> Any:
    """Wait until something is found."""
    deadline = time.monotonic() + PATIENCE
    while not (found := find()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


def below(pid: int, children: Callable[[int], set[int]], word: str) -> list[int]:
    """Return the descendants of a process whose command line has a word."""
    found: list[int] = []
    for child in children(pid):
        with_word = word in Path(f"/proc/{child}/cmdline").read_text()
        found += [*([child] if with_word else []), *below(child, children, word)]
    return found


def raylet_of(node: Any) -> int:
    pid: int = node.all_processes["raylet"][0].process.pid
    return pid


def run_with(
    options: Options,
    suite: dict[str, Any],
    store: Store,
    watch: Callable[[Event], None] = lambda event: None,
) -> list[Event]:
    """Run a suite, without a report; return all events."""
    events: list[Event] = []

    def note(event: Event) -> None:
        events.append(event)
        watch(event)

    with store.lock():
        plan = runner.make_plan(runner.select(load_suite(suite), store, options), store, options)
        runner.run(plan, store, options, note)
    return events


def on(cluster: Cluster) -> Options:
    """Packs of three, two at the same time."""
    return Options(workers=2, pack_size=3, executor="ray", address=cluster.address)


def test_a_node_is_removed_and_workers_are_killed_and_the_store_has_the_bits_of_local(
    cluster: Cluster, expected: str, tmp_path: Path, children: Callable[[int], set[int]]
) -> None:
    second = cluster.add_node(**NODE)
    store, retried, at_work = Store(tmp_path / "runs"), [], set()

    def strike(event: Event) -> None:
        retried.extend([event.reason] if event.kind == "retried" else [])
        if event.kind == "epoch":
            at_work.add(event.worker)
        if at_work == {0, 1} and second in cluster.list_all_nodes():
            (worker,) = below(raylet_of(cluster.head_node), children, "recipebench.benchmarks.worker")
            os.kill(worker, signal.SIGKILL)
            cluster.remove_node(second, allow_graceful=False)
        elif event.kind == "epoch" and len(retried) == 2:
            (carrier,) = below(raylet_of(cluster.head_node), children, "ray::carry")
            os.kill(carrier, signal.SIGKILL)
            retried.append("killed once only")

    events = run_with(on(cluster), SUITE, store, strike)

    assert store.digest() == expected
    assert sorted({event.reason for event in events if event.kind == "retried"}) == [
        "its node was lost (NodeDiedError)",
        "the worker's process of Ray was killed or crashed",
        "worker killed by signal 9 (out of memory, if nobody killed it)",
    ]
    ended = [cell.id for event in events if event.kind == "done" for cell in event.pack.cells]
    assert sorted(ended) == sorted({cell.id for cell in expand(load_suite(SUITE))})


def test_the_driver_is_killed_and_another_one_goes_on(
    cluster: Cluster, expected: str, tmp_path: Path, children: Callable[[int], set[int]]
) -> None:
    file, store = tmp_path / "suite.yaml", tmp_path / "runs"
    file.write_text(yaml.safe_dump(SUITE))
    arguments = [file, "--store", store, "--executor", "ray", "--address", cluster.address, "--pack-size", 2]
    command = [sys.executable, "-m", "recipebench", "run", *map(str, arguments)]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    eventually(lambda: list(store.glob("shards/*.json")))

    driver.kill()
    driver.wait()

    workers = raylet_of(cluster.head_node), children, "recipebench.benchmarks.worker"
    eventually(lambda: not below(*workers))
    kept = Store(store).cached()
    assert 0 < len(kept) < 12
    events = run_with(on(cluster), SUITE, Store(store))
    assert not {cell.id for event in events for cell in event.pack.cells} & set(kept)
    assert Store(store).digest() == expected


def test_plug_ins_and_data_travel_to_a_node_that_has_neither(
    cluster: Cluster, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if None in fetch.locate(fetch.DATA.choose("mnist")).values():
        pytest.skip(f"the files of mnist are not here: name their folder in ${fetch.ENVIRONMENT}")
    cache = next(tmp_path_factory.getbasetemp().glob("cache_of_nodes*")) / "recipebench"
    path = tmp_path / "own.py"
    path.write_text(PLUGIN)
    suite = {
        "name": "sent",
        "data": ["mnist"],
        "matrix": {"model": ["softmax_regression"], "optimizer": ["half_sgd"]},
        "seeds": 1,
        "protocol": {"epochs": 1, "train_samples": 100, "validation": 100},
    }
    plugins.load(path)
    try:
        (cell,) = expand(load_suite(suite))
        here = measure([cell], None, lambda message: None)
        (*_, epoch, done) = run_with(replace(on(cluster), rows=True), suite, Store(tmp_path / "runs"))
    finally:
        plugins.unload()

    assert done.records == [here["records"][0] | {"pack_seconds": done.records[0]["pack_seconds"]}]
    assert [row["epoch"] for row in epoch.rows[cell.id]] == [0, 1]
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (cache / "plugins" / sha256 / "own.py").read_text() == PLUGIN
    names = sorted(file.name for file in (cache / "data").rglob("*") if file.is_file())
    assert names == sorted(Path(file.path).name for file in fetch.locate(fetch.DATA.choose("mnist")))


def test_a_node_of_another_build_or_another_recipebench_ends_the_run(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    packs = [Pack((next(expand(load_suite(SUITE))),))]
    address = cluster.address.rpartition(":")[0]
    here = executor_ray._build()
    monkeypatch.setattr(executor_ray, "_build", lambda: {**here, "torch": "1.0"})
    with pytest.raises(WorkerError) as other_torch, RayExecutor(address=cluster.address) as executor:
        list(executor.run(packs))
    monkeypatch.setattr(executor_ray, "source_sha256", lambda: "of another time")
    with pytest.raises(WorkerError) as other_code, RayExecutor(address=cluster.address, mix=True) as executor:
        list(executor.run(packs))

    assert str(other_torch.value) == (
        f"node {address} must not be used: it has torch {here['torch']} where the driver has 1.0, and its "
        "results could have other bits. Leave it out, or give --mix to train on both: records say where they "
        "are from."
    )
    assert f"node {address} must not be used: it has another version of recipebench" in str(other_code.value)


def test_a_cluster_that_one_is_connected_to_is_used_and_kept(cluster: Cluster) -> None:
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    try:
        with RayExecutor() as executor:
            slots = executor.slots
        assert ray.is_initialized()
    finally:
        ray.shutdown()

    assert slots == 1  # the cores of the cluster


def test_a_cluster_of_one_machine_listens_on_loopback_only(children: Callable[[int], set[int]]) -> None:
    if not Path("/proc/net/tcp6").exists():
        pytest.skip("needs /proc")
    others = {*below(os.getpid(), children, "")}
    with RayExecutor(1) as executor:
        own = {*below(os.getpid(), children, "")} - others
        slots, listening = executor.slots, list(_listening(own))

    assert slots == 1
    assert len(listening) > 2
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert ray_constants.ENABLE_RAY_CLUSTER
    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR not in os.environ


def _listening(processes: set[int]) -> Iterator[str]:
    """Yield the addresses, in hexadecimal, on which processes listen."""
    inodes = {os.readlink(fd) for pid in processes for fd in _descriptors(pid)}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in inodes:
                yield local.partition(":")[0]


def _descriptors(pid: int) -> Iterator[Path]:
    yield from (path for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink())


def test_what_no_node_has_is_refused_instead_of_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor_ray, "JOINING", 0.0)
    cell = next(expand(load_suite(SUITE)))
    with RayExecutor(address=cluster.address, gpus_per_pack=0.25) as executor:
        for device, needs in [
            ("gpu", "1 CPU and 0.25 GPU"),
            ("gpu:2", "2 CPU and 2 GPU"),
            ("cpu:2", "2 CPU"),
        ]:
            with pytest.raises(WorkerError) as refused:
                executor.run([Pack((replace(cell, device=device),))])

            expected = f"No node of the cluster has {needs}; the most are 1 CPU, 0 GPU."
            assert str(refused.value) == expected


def test_part_of_a_gpu_is_asked_for_and_the_worker_sees_it_alone() -> None:
    cell: Cell = next(expand(load_suite(SUITE)))

    assert resources(cell.device, 0.25) == {"num_cpus": 1, "num_gpus": 0}
    assert resources("gpu", 0.25) == {"num_cpus": 1, "num_gpus": 0.25}
    assert resources("gpu:1", 0.25) == {"num_cpus": 1, "num_gpus": 0.25}
    assert resources("gpu:4", 0.25) == {"num_cpus": 4, "num_gpus": 4}
    assert resources("cpu:2") == {"num_cpus": 2, "num_gpus": 0}
    first = executor_ray._worker("0")
    assert executor_ray._worker("0") is first
    second = executor_ray._worker("1")
    assert second is not first
    with pytest.raises(OSError, match="the run is over"):
        first._alive()
    assert executor_ray._workers == {"1": second}


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://127.0.0.1:10001", "--address: expected HOST:PORT of a cluster that this machine is part of"),
        ("nonsense", "--address: expected HOST:PORT of a cluster that this machine is part of, or auto, got"),
        ("127.0.0.1:9", "--address: no Ray cluster at 127.0.0.1:9: Connection refused."),
    ],
)
def test_an_address_that_is_none_is_refused(address: str, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        RayExecutor(address=address)

    assert str(refused.value).startswith(message)


def test_a_parcel_that_has_changed_on_its_way_is_not_delivered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ray, "get", lambda reference: reference)
    sent = Parcel("a/b", hashlib.sha256(b"right").hexdigest(), (b"right",))

    with pytest.raises(ValueError, match=r"^a/b: expected SHA-256 [0-9a-f]{64}, got [0-9a-f]{64}$"):
        replace(sent, content=(b"wrong",)).deliver(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert sent.deliver(tmp_path).read_bytes() == b"right"
    assert replace(sent, content=(None,)).deliver(tmp_path) == tmp_path / "a" / "b"  # it is there already
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_terms_compare_torch_processor_and_what_mkl_was_asked_for() -> None:
    here = executor_ray._build()
    assert set(here) == {"torch", "cpu", "MKL_CBWR"}

    assert Terms(here, source_sha256()).refusal() is None
    assert Terms(None, source_sha256()).refusal() is None
    other = Terms({**here, "cpu": "abacus", "MKL_CBWR": "COMPATIBLE"}, source_sha256()).refusal()
    assert other is not None
    assert other.startswith(
        f"it has cpu {here['cpu']} where the driver has abacus, "
        f"MKL_CBWR {here['MKL_CBWR']} where the driver has COMPATIBLE, and its results could have other bits"
    )


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (exceptions.NodeDiedError("gone"), "lost", "its node was lost (NodeDiedError)"),
        (exceptions.ObjectLostError("a", None, "b"), "lost", "its node was lost (ObjectLostError)"),
        (exceptions.WorkerCrashedError(), "died", "the worker's process of Ray was killed or crashed"),
        (exceptions.OutOfMemoryError("full"), "died", "out of memory: Ray ended the worker to save its node"),
        (
            exceptions.RayTaskError(
                "carry", "Traceback\n  ModuleNotFoundError: recipebench\n", ImportError()
            ),
            "unstarted",
            "a node of the cluster: ModuleNotFoundError: recipebench",
        ),
    ],
)
def test_ray_s_errors_are_told_apart(error: Exception, kind: str, reason: str) -> None:
    assert executor_ray._loss(error) == {"kind": kind, "reason": reason}
