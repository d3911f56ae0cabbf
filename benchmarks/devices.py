"""Which devices a cell can be trained on here, and why not where it cannot."""

from __future__ import annotations


def unavailable(device: str) -> str | None:
    """Say why a device cannot be used, or return None when it can.

    This version trains on the processor, one cell or pack a worker.

    Args:
        device: `cpu`, `gpu`, `cpu:N` or `gpu:N`.

    Example:
        >>> unavailable("cpu") is None
        True
        >>> unavailable("gpu:2")
        'device gpu:2 is not available: this version trains on cpu only'
    """
    if device in ("cpu", "cpu:1"):
        return None
    return f"device {device} is not available: this version trains on cpu only"
