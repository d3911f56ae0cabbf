"""Named seeds: every random stream of a training run is addressed by what it is for."""

from __future__ import annotations

import hashlib
import json


def seed_for(purpose: str, *names: object) -> int:
    """Derive a seed from names: the first 63 bits of the SHA-256 of their JSON.

    The names are a data set, a seed number, a layer, a shape, an epoch; never a factor that is
    compared and never a place in a pack, so that compared recipes share their split, batch order
    and initial draws.

    Args:
        purpose: the stream: `split`, `order`, `init`, `noise`, `subset`, `augmentation`, `label_noise` or
            `generate`.
        names: JSON-serializable values (tuples count as lists) that tell the stream from others.

    Returns:
        An integer in [0, 2**63), as `torch.Generator.manual_seed` accepts it.

    Example:
        >>> seed_for("order", "mnist", 0, 1) == seed_for("order", "mnist", 0, 1)
        True
        >>> seed_for("order", "mnist", 0, 1) == seed_for("split", "mnist", 0, 1)
        False
    """
    text = json.dumps([purpose, *names], separators=(",", ":"), ensure_ascii=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
