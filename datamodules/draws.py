"""What chance decides: the order of an epoch, and which training labels are wrong, from named seeds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from recipebench.seeds import seed_for


def generator(purpose: str, *names: object) -> torch.Generator:
    """Return a generator of its own, seeded with `seed_for(purpose, *names)`."""
    return torch.Generator().manual_seed(seed_for(purpose, *names))


def permutation(n: int, purpose: str, *names: object) -> Tensor:
    """Return the numbers below n, each once, in the order that the names address: int64 (n,)."""
    return torch.randperm(n, generator=generator(purpose, *names))


def with_replacement(n: int, purpose: str, *names: object) -> Tensor:
    """Return n independent draws from the numbers below n, as the names address them: int64 (n,).

    An epoch then misses a share (1 - 1/n)^n of the samples, about 1/e, and shows others repeatedly.
    """
    return torch.randint(n, (n,), generator=generator(purpose, *names))


def fit_to(samples: int, order: Callable[[int], Tensor], epoch: int) -> Tensor:
    """Cut an epoch's order to `samples` indices, or complete it from the orders of the epochs that follow.

    Args:
        samples: indices wanted.
        order: from an epoch to its own order, int64 (members,), not empty.
        epoch: counted from 1.

    Returns:
        int64 (samples,).

    Example:
        >>> orders = {1: torch.tensor([2, 0, 1]), 2: torch.tensor([1, 2, 0])}
        >>> fit_to(4, orders.__getitem__, 1).tolist(), fit_to(2, orders.__getitem__, 1).tolist()
        ([2, 0, 1, 1], [2, 0])
    """
    pieces = [order(epoch)]
    following = count(epoch + 1)
    while sum(map(len, pieces)) < samples:
        pieces.append(order(next(following)))
    return torch.cat(pieces)[:samples]


def noisy_labels(targets: Tensor, indices: Tensor, share: float, classes: int, *names: object) -> Tensor:
    """Replace a share of labels by another class, drawn uniformly from the others.

    Exactly round(share * members) labels change. Under the same names the labels that a smaller
    share changes are also changed by a larger one, to the same class.

    Args:
        targets: int64 (n,), left alone.
        indices: int64 (members,): the rows whose labels may change.
        share: in [0, 1).
        classes: how many there are, at least 2.
        *names: address the stream, after its purpose `label_noise`.

    Returns:
        int64 (n,), a copy.

    References:
        Zhang, Bengio, Hardt, Recht and Vinyals, Understanding deep learning requires rethinking
        generalization, 2017 (label noise as a control).
    """
    noise = generator("label_noise", *names)
    order = torch.randperm(len(indices), generator=noise)
    steps = torch.randint(1, classes, (len(indices),), generator=noise)
    chosen = order[: round(share * len(indices))]
    rows = indices[chosen]
    noisy = targets.clone()
    noisy[rows] = (targets[rows] + steps[chosen]) % classes
    return noisy
