"""One model or pack in several processes: how they join, what each is fed, and how Lightning sees them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed

from recipebench.benchmarks.devices import device_parts
from recipebench.datamodules.batches import Batches
from recipebench.lightning_modules.shares import Share

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others in a sum, until it gives the pack up."""

BACKENDS = {"cpu": "gloo", "gpu": "nccl"}
"""What the processes of a device talk through."""


class LostRankError(RuntimeError):
    """A process that trains with this one died or does not answer: what they trained is lost."""


@contextmanager
def joined(
    device: str, share: Share, meeting: Path, watch: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Join the other processes of a device for the time of a block.

    They meet in a file and talk through the loopback interface, on ports that the system gives them: runs
    beside each other cannot get in each other's way, and nobody from outside can join.

    Args:
        device: `cpu:N` or `gpu:N`.
        share: the place of this process among the N.
        meeting: a file that does not exist yet, the same for all.
        watch: called while others are missing; raises if they will not come.

    Raises:
        LostRankError: not all came within `TIMEOUT`.
    """
    _stay_on_this_machine()
    store = distributed.FileStore(str(meeting), share.ranks)  # type: ignore[attr-defined]
    _meet(store, share, watch)
    distributed.init_process_group(
        BACKENDS[device_parts(device)[0]],
        store=store,
        rank=share.rank,
        world_size=share.ranks,
        timeout=TIMEOUT,
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _meet(store: Any, share: Share, watch: Callable[[], None]) -> None:
    """Wait for all: torch would wait where nobody can tell it that one of them is gone."""
    here = [f"here {rank}" for rank in range(share.ranks)]
    store.set(here[share.rank], "")
    until = time.monotonic() + TIMEOUT.total_seconds()
    while not store.check(here):
        watch()
        if time.monotonic() > until:
            missing = ", ".join(str(rank) for rank, key in enumerate(here) if not store.check([key]))
            raise LostRankError(f"rank {missing} has not come for {TIMEOUT.total_seconds():.0f} seconds")
        time.sleep(0.01)


def _stay_on_this_machine() -> None:
    names = {name for _, name in socket.if_nameindex()} if hasattr(socket, "if_nameindex") else set()
    for name in ("lo", "lo0"):
        if name in names:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)


class JoinedEnvironment(LightningEnvironment):
    """Tells Lightning which of the processes this is; they have been started and have joined already.

    Args:
        share: the place of this process.
    """

    creates_processes_externally = True

    def __init__(self, share: Share) -> None:
        super().__init__()
        self._share = share

    def local_rank(self) -> int:
        """Return the number of this process; all are on one machine."""
        return self._share.rank

    def node_rank(self) -> int:
        """Return the number of this machine, the only one."""
        return 0

    def teardown(self) -> None:
        """Leave the variables of the process alone."""


class WeightedDDP(DDPStrategy):
    """Lightning's DDP with every sample counted once: the parts of a batch may be of unequal size.

    DDP takes the mean of the gradients of all processes, which is that of the whole batch only if all parts
    have the same size. So each process's loss, the mean over its n_r of n samples, is weighted by
    N n_r / n; penalties, the same everywhere, are counted once by that, as the weights' mean is 1. A pack
    adds its gradients up by itself.

    Args:
        share: the place of this process.
        weight: from the number of a step in its epoch, from 0, to the weight of this process's part.
    """

    def __init__(self, share: Share, weight: Callable[[int], float]) -> None:
        super().__init__(cluster_environment=JoinedEnvironment(share), timeout=TIMEOUT)
        self._share_weight = weight
        self._weight = 1.0

    def _configure_launcher(self) -> None:
        """Start no processes."""

    def configure_ddp(self) -> None:
        """Wrap a plain module; a pack's parameters are no module's, and its step is its own."""
        assert self.lightning_module is not None
        if self.lightning_module.automatic_optimization:
            super().configure_ddp()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Note which part of its batch this process has, and train on it."""
        self._weight = self._share_weight(batch_idx)
        return super().training_step(batch, batch_idx)

    def backward(self, closure_loss: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Weight the loss, of which the gradient is taken."""
        return super().backward(closure_loss * self._weight, *args, **kwargs)


@dataclass
class PartOfBatches:
    """A loader of this process's part of every batch, in the order of one device.

    Every process gathers and augments the whole batch, by noise that is drawn for all of it, and keeps its
    rows.

    Args:
        whole: the loader of whole batches.
        share: the place of this process.
    """

    whole: Batches
    share: Share

    batch_sampler = None  # Lightning asks loaders with a sampler for it

    @property
    def sampler(self) -> Any:
        """What chooses the epoch."""
        return self.whole.sampler

    def __len__(self) -> int:
        return len(self.whole)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in self.whole:
            yield self.share.cut(inputs), self.share.cut(targets)

    def weight(self, step: int) -> float:
        """Return what the mean over this process's part counts in a step of an epoch, numbered from 0."""
        before = step * self.whole.batch_size
        return self.share.weight(min(self.whole.batch_size, self.whole.samples - before))
