"""Where packs have the bits of plain PyTorch."""

from __future__ import annotations

import torch


def promises_bits(device: torch.device) -> bool:
    """Whether packs on a device have the bits of plain PyTorch: on processors; elsewhere up to rounding.

    Where bits are promised, work is done together only if that changes none; elsewhere always.

    Example:
        >>> promises_bits(torch.device("cpu")), promises_bits(torch.device("cuda"))
        (True, False)
    """
    return device.type == "cpu"
