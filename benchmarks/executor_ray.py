"""Runs packs on a Ray cluster, in the worker processes that `local` starts, with the same bits.

A Ray task carries one pack: it stands between the driver and a worker process of its node, and hands the
worker's messages on as they come. Ray finds the node and tells when one is lost; what is tried again, halved
and given up is decided as everywhere, in `executor.Executor.run`. Plug-ins and files of data travel with
their SHA-256; a file is sent to a node once, and only where the node does not have it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before Ray looks

import ray
from ray import exceptions
from ray._private import ray_constants

from recipebench import plugins
from recipebench.benchmarks import gpus
from recipebench.benchmarks.devices import device_parts
from recipebench.benchmarks.environment import build, source_sha256
from recipebench.benchmarks.executor import (
    Event,
    Executor,
    Message,
    WorkerError,
    WorkerProcess,
    training_request,
)
from recipebench.benchmarks.packs import Pack
from recipebench.datamodules import fetch
from recipebench.errors import RequestError
from recipebench.levels import Choice

ANSWER = 10.0
"""Seconds that a cluster has to answer."""

JOINING = 60.0
"""Seconds that a node which can run the packs has to join the cluster."""


class RayExecutor(Executor):
    """Takes packs to the nodes of a Ray cluster.

    In a process that is connected to a cluster already, that one is used and left as it is.

    Args:
        workers: packs under way at once, also those that wait for a node; None for one a processor core of
            the cluster.
        data_dir: where nodes look for data first, where they have that folder.
        address: of an existing cluster, `HOST:PORT` or `auto`; None starts one on this machine.
        gpus_per_pack: the part of a GPU that a pack takes.
        mix: use nodes of another build than this process's.
        rows: whether `epoch` events carry the rows of the histories.

    Raises:
        RequestError: there is no such cluster.
    """

    def __init__(
        self,
        workers: int | None = None,
        data_dir: Path | None = None,
        *,
        address: str | None = None,
        gpus_per_pack: float = 1.0,
        mix: bool = False,
        rows: bool = False,
    ) -> None:
        self._is_guest = ray.is_initialized()
        if not self._is_guest:
            _connect(address, workers)
        super().__init__(workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
        self._data_dir, self._gpus_per_pack, self._rows = data_dir, gpus_per_pack, rows
        self._terms = Terms(builds=None if mix else _build(), code=source_sha256())
        self._carry = ray.remote(num_returns="streaming", max_retries=0)(carry)
        self._under_way: dict[Any, int] = {}  # Ray calls a generator of references by several names
        self._sent: dict[Path, Parcel] = {}

    def __exit__(self, *exception: object) -> None:
        for generator in self._under_way:
            with contextlib.suppress(exceptions.RayError, ValueError):  # its node is lost, or it just ended
                ray.cancel(generator, force=True)
        if not self._is_guest:
            ray.shutdown()

    def run(self, packs: Iterable[Pack]) -> Iterator[Event]:
        """Train all packs, as `Executor.run` says.

        Raises:
            WorkerError: no node has what a pack needs, or a node must not be used, or workers do not start.
        """
        packs = list(packs)
        for device in dict.fromkeys(pack.cells[0].device for pack in packs):
            _refuse_without_node(resources(device, self._gpus_per_pack))
        return super().run(packs)

    def _start(self, number: int, pack: Pack) -> None:
        request = training_request(pack, self._data_dir, rows=self._rows)
        sources = {source.name: source for cell in pack.cells for source in cell.sources}.values()
        carry = self._carry.options(**resources(pack.cells[0].device, self._gpus_per_pack))
        parcels = [*self._plugins(), *self._files(sources)]
        self._under_way[carry.remote(request, self._terms, parcels)] = number

    def _plugins(self) -> list[Parcel]:
        return [self._parcel(p.path, f"{p.sha256}/{p.name}", p.sha256) for p in plugins.loaded()]

    def _files(self, choices: Iterable[Choice]) -> list[Parcel]:
        """Return the files of data sets; those that this machine does not have either are not sent."""
        found = [
            (file, path)
            for choice in choices
            for file, path in fetch.locate(choice, self._data_dir).items()
            if path is not None
        ]
        return [self._parcel(path, *fetch.name_and_hash(file, path)) for file, path in found]

    def _parcel(self, path: Path, name: str, sha256: str) -> Parcel:
        """Put a file into Ray's object store, once for the run."""
        if path not in self._sent:
            self._sent[path] = Parcel(name, sha256, (ray.put(path.read_bytes()),))
        return self._sent[path]

    def _next(self) -> tuple[int, Message]:
        ready: list[Any] = ray.wait(list(self._under_way), num_returns=1)[0]
        (generator,) = ready
        number = self._under_way[generator]
        try:
            message: Message = ray.get(next(generator))
        except (exceptions.RayError, StopIteration) as error:
            message = {**_loss(error), "traceback": str(error)}
        if message["kind"] != "epoch":
            del self._under_way[generator]
        return number, message


@dataclass(frozen=True)
class Terms:
    """What a node must have, to train for this run.

    Args:
        builds: see `_build`; None for any.
        code: the SHA-256 of recipebench's own code; the same on all nodes in any case.
    """

    builds: Mapping[str, str] | None
    code: str

    def refusal(self) -> str | None:
        """Say why this very machine must not be used, or return None."""
        if source_sha256() != self.code:
            return "it has another version of recipebench; install the same one on all nodes"
        if self.builds is None or self.builds == _build():
            return None
        theirs = {name: value for name, value in _build().items() if value != self.builds[name]}
        pairs = [f"{name} {value} where the driver has {self.builds[name]}" for name, value in theirs.items()]
        return (
            f"it has {', '.join(pairs)}, and its results could have other bits. Leave it out, or give "
            "--mix to train on both: records say where they are from"
        )


@dataclass(frozen=True)
class Parcel:
    """A file on its way to the nodes.

    Args:
        name: where it belongs, below the folder for such files.
        sha256: of its content.
        content: a reference to its bytes in Ray's object store; in a tuple, so that Ray fetches them only
            where they are asked for.
    """

    name: str
    sha256: str
    content: tuple[Any]

    def deliver(self, folder: Path) -> Path:
        """Have the file in a folder of this node and return its path; workers verify it when they read it.

        Raises:
            OSError: the folder cannot be written.
            ValueError: what came is not what was sent.
        """
        target = folder / self.name
        if not target.is_file():
            content: bytes = ray.get(self.content[0])
            found = hashlib.sha256(content).hexdigest()
            if found != self.sha256:
                raise ValueError(f"{self.name}: expected SHA-256 {self.sha256}, got {found}")
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=target.parent)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.replace(temporary, target)
        return target


def carry(request: Message, terms: Terms, parcels: Sequence[Parcel]) -> Iterator[Message]:
    """Take a request to a worker process of this node and yield its answers; this is the Ray task.

    Args:
        request: from `executor.training_request`.
        terms: what this node must have.
        parcels: files that the request speaks of: plug-ins, and the driver's files of data.
    """
    node = f"node {ray.util.get_node_ip_address()}"
    if refusal := terms.refusal():
        yield {"kind": "unfit", "reason": f"{node} must not be used: {refusal}", "traceback": ""}
        return
    try:
        request = _at_home(request, parcels)
    except (OSError, ValueError) as error:
        yield {"kind": "unstarted", "reason": f"{node}: {error}", "traceback": ""}
        return
    yield from _worker(os.environ.get("CUDA_VISIBLE_DEVICES")).ask(request)


def _at_home(request: Message, parcels: Sequence[Parcel]) -> Message:
    """Return a request with the paths of this node, its files delivered."""
    data_dir = request["data_dir"] if request["data_dir"] and Path(request["data_dir"]).is_dir() else None
    folders = fetch.search_folders(data_dir)
    own = {plugin["sha256"] for plugin in request["plugins"]}
    brought = {}
    for parcel in parcels:
        if parcel.sha256 in own:
            brought[parcel.sha256] = str(parcel.deliver(fetch.cache_folder().with_name("plugins")))
        elif not any((folder / parcel.name).is_file() for folder in folders):
            parcel.deliver(fetch.cache_folder())
    paths = [{**plugin, "path": brought[plugin["sha256"]]} for plugin in request["plugins"]]
    return {**request, "data_dir": data_dir, "plugins": paths}


_workers: dict[str | None, WorkerProcess] = {}


def _worker(visible: str | None) -> WorkerProcess:
    """Return the worker process behind this Ray worker; another one where its GPUs have changed."""
    for other in [share for share in _workers if share != visible]:
        worker = _workers.pop(other)
        worker.kill()
        worker.bury()
    return _workers.setdefault(visible, WorkerProcess(visible))


def resources(device: str, gpus_per_pack: float = 1.0) -> dict[str, float]:
    """Return what a pack asks of Ray: a core for each process, and a GPU, several, or a part of one.

    Example:
        >>> resources("gpu", 0.25), resources("cpu:2")
        ({'num_cpus': 1, 'num_gpus': 0.25}, {'num_cpus': 2, 'num_gpus': 0})
    """
    wanted, (_, count) = gpus.needed(device), device_parts(device)
    return {"num_cpus": count, "num_gpus": gpus_per_pack if wanted == 1 else wanted}


def _refuse_without_node(wanted: Mapping[str, float]) -> None:
    """Refuse what no node could run, which Ray would wait for without end; nodes may take a while to join."""
    asked = {"CPU": wanted["num_cpus"], "GPU": wanted["num_gpus"]}
    deadline, found = time.monotonic() + JOINING, False
    while True:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        found = any(all(node.get(name, 0) >= count for name, count in asked.items()) for node in nodes)
        if found or time.monotonic() >= deadline:
            break
        time.sleep(1)
    if not found:
        most = [f"{max((n.get(name, 0) for n in nodes), default=0):g} {name}" for name in asked]
        needs = [f"{count:g} {name}" for name, count in asked.items() if count]
        raise WorkerError(
            f"No node of the cluster has {' and '.join(needs)}; the most are {', '.join(most)}."
        )


def _connect(address: str | None, workers: int | None) -> None:
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": False,
    }
    if address is None:
        with _on_loopback():
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
        return
    if address != "auto":
        _refuse_silent(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise RequestError(f"--address: no Ray cluster at {address}: {text:.300}") from error


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a cluster of this machine alone listen on 127.0.0.1, as Ray does by itself on other systems.

    Ray reads its switch for that when it is imported; a later run in this process may join other machines.
    """
    name, usual = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    before = os.environ.get(name)
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = usual
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _refuse_silent(address: str) -> None:
    """Refuse at once what does not listen; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise RequestError(
            "--address: expected HOST:PORT of a cluster that this machine is part of, or auto, got "
            f"{address!r:.80}."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"--address: no Ray cluster at {address}: {reason}.") from error


@cache
def _build() -> dict[str, str]:
    """Return what bits depend on: torch, the class of processor, and what MKL was asked for."""
    return {**build(), "MKL_CBWR": os.environ.get("MKL_CBWR", "")}


def _loss(error: Exception) -> Message:
    """Tell from Ray's error what was lost: a machine, a worker, or one that never began."""
    if isinstance(error, exceptions.RayTaskError):  # the carrier itself; recipebench is not there, perhaps
        return {"kind": "unstarted", "reason": f"a node of the cluster: {_last_line(error)}"}
    if isinstance(error, exceptions.OutOfMemoryError):
        return {"kind": "died", "reason": "out of memory: Ray ended the worker to save its node"}
    if isinstance(error, exceptions.WorkerCrashedError):
        return {"kind": "died", "reason": "the worker's process of Ray was killed or crashed"}
    return {"kind": "lost", "reason": f"its node was lost ({type(error).__name__})"}


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return " ".join(lines[-1].split())[:500] if lines else type(error).__name__
