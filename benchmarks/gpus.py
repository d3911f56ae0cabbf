"""The GPUs of this machine, as worker processes share them; found without importing torch."""

from __future__ import annotations

import os
from collections.abc import Sequence

from recipebench.benchmarks.devices import device_parts
from recipebench.benchmarks.environment import gpu_free_bytes, gpu_names


def visible() -> tuple[str, ...]:
    """Return the devices that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return tuple(str(number) for number in range(len(gpu_names())))
    return tuple(name.strip() for name in named.split(",") if name.strip() not in ("", "-1"))


def free_memory() -> float | None:
    """Return the bytes that are free on each GPU that this process may use; None where nobody can tell.

    Of several GPUs the one with the least counts. Devices that are named, not counted, are not told apart.
    """
    free = gpu_free_bytes()
    numbers = [int(name) for name in visible() if name.isdigit() and int(name) < len(free)]
    chosen = [free[number] for number in numbers] or free
    return min(chosen, default=None)


def needed(device: str) -> int:
    """Return how many GPUs a cell trains on.

    Args:
        device: `cpu`, `gpu`, `cpu:N` or `gpu:N`.

    Example:
        >>> [needed(device) for device in ("cpu:4", "gpu", "gpu:2")]
        [0, 1, 2]
    """
    kind, count = device_parts(device)
    return count if kind == "gpu" else 0


def shares(gpus: Sequence[str], group: int = 1, per_pack: float = 1.0) -> tuple[str, ...]:
    """Return what each worker gets as `CUDA_VISIBLE_DEVICES`: one worker a GPU, or several.

    Args:
        gpus: from `visible`.
        group: how many GPUs the largest cell trains on; such groups are the unit then.
        per_pack: the part of a GPU that a pack takes; 0.25 lets four workers share each.

    Returns:
        One text a worker: first one worker for every group, then the second ones.

    Example:
        >>> shares(["0", "1"], per_pack=0.5)
        ('0', '1', '0', '1')
        >>> shares(["0", "1", "2", "3"], group=2)
        ('0,1', '2,3')
    """
    groups = [",".join(gpus[i : i + group]) for i in range(0, len(gpus) - group + 1, group)]
    return tuple(groups * (1 if group > 1 else int(1 / per_pack + 1e-9)))
