"""Which devices a cell can be trained on here, and why not where it cannot."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from recipebench.benchmarks.environment import gpu_names, torch_has_cuda
from recipebench.lightning_modules.model_catalog import MODELS, one_device_only
from recipebench.processes import usable_cores

if TYPE_CHECKING:
    from recipebench.benchmarks.cells import Cell

FEW = 4
"""Processes of one cell that are allowed on any machine, also where they have to take turns on its cores."""


def device_parts(device: str) -> tuple[str, int]:
    """Return the kind of a device and how many of it there are.

    Example:
        >>> device_parts("gpu"), device_parts("cpu:2")
        (('gpu', 1), ('cpu', 2))
    """
    kind, _, count = device.partition(":")
    return kind, int(count or 1)


def unavailable(device: str) -> str | None:
    """Say why a device cannot be used, or return None when it can.

    Args:
        device: `cpu`, `gpu`, `cpu:N` or `gpu:N`.

    Example:
        >>> unavailable("cpu") is None, unavailable("cpu:2") is None
        (True, True)
    """
    kind, count = device_parts(device)
    reason = _too_many_processes(count) if kind == "cpu" else _too_few_gpus(count)
    return f"device {device} is not available: {reason}" if reason else None


def why_not(cell: Cell, *, here: bool = True) -> str | None:
    """Say why a cell cannot be trained, for want of a device or because of its model; None if it can.

    Args:
        cell: what is to be trained.
        here: on this machine; otherwise on others, whose devices are not known.
    """
    if here and (reason := unavailable(cell.device)):
        return reason
    if device_parts(cell.device)[1] == 1:
        return None
    reason = one_device_only(MODELS[cell.model.name])
    return f"model {cell.model.name} trains on one device, not on {cell.device}: {reason}" if reason else None


def _too_many_processes(count: int) -> str | None:
    cores = usable_cores()
    most = max(cores, FEW)
    if count <= most:
        return None
    return f"up to cpu:{most} fits this machine, whose {cores} cores run one process each"


@functools.cache
def _gpus() -> tuple[str, ...]:
    return gpu_names()


def _too_few_gpus(count: int) -> str | None:
    found = len(_gpus())
    if not found:
        return "no graphics processor is found here (nvidia-smi lists none)"
    if count > found:
        return f"{found} of {count} graphics processors are found here"
    return None if torch_has_cuda() else "this build of torch has no CUDA"
