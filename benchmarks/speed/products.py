"""The yardstick of all speeds: how fast this machine multiplies matrices."""

from __future__ import annotations

import time

import torch


def product_rate(seconds: float = 0.3) -> float:
    """Return floating point operations per second of a 1024 x 1024 x 1024 float32 product, one thread."""
    a, b, out = torch.randn(1024, 1024), torch.randn(1024, 1024), torch.empty(1024, 1024)
    torch.mm(a, b, out=out)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        torch.mm(a, b, out=out)
        count += 1
    return 2 * 1024**3 * count / (time.perf_counter() - start)
