"""Penalties of many members in a few calls, where bits are not promised: views in place of a member each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipebench.lightning_modules.packed.base import PackedLayer

TOGETHER: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "l1": (lambda w: torch.linalg.vector_norm(w, 1, (2, 3)), torch.sign),
    "l2": (lambda w: torch.linalg.vector_norm(w, 2, (2, 3)).square_().mul_(0.5), lambda w: w),
}
"""What each strength is multiplied by: the penalty of weights (groups, members, ., .), and its gradient."""


@dataclass(frozen=True)
class PlacesAlike:
    """Places in a pack: so many runs of equal length at equal distances.

    Args:
        start: the first place.
        runs: how many runs there are.
        distance: from the start of a run to that of the next.
        length: places in a run.

    Example:
        >>> [place for place in PlacesAlike(1, 2, 5, 3)]
        [1, 2, 3, 6, 7, 8]
    """

    start: int
    runs: int
    distance: int
    length: int

    def __iter__(self) -> Iterator[int]:
        for run in range(self.runs):
            start = self.start + run * self.distance
            yield from range(start, start + self.length)

    def of(self, members: Tensor) -> Tensor:
        """Return these rows of (K, ...) as a view, (runs, length, ...)."""
        stride, *rest = members.stride()
        return members.as_strided(
            (self.runs, self.length, *members.shape[1:]),
            (self.distance * stride, stride, *rest),
            members.storage_offset() + self.start * stride,
        )


def alike(places: Sequence[int]) -> list[PlacesAlike]:
    """Return ascending places as few regular groups, in their order.

    Example:
        >>> [(group.start, group.runs, group.distance) for group in alike([0, 1, 4, 5, 8, 9, 11])]
        [(0, 3, 4), (11, 1, 1)]
    """
    runs: list[tuple[int, int]] = []
    for _, run in itertools.groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        members = [place for _, place in run]
        runs.append((members[0], len(members)))
    found: list[PlacesAlike] = []
    for start, length in runs:
        last = found[-1] if found else None
        if (
            last
            and last.length == length
            and (last.runs == 1 or start == last.start + last.runs * last.distance)
        ):
            distance = start - last.start if last.runs == 1 else last.distance
            found[-1] = PlacesAlike(last.start, last.runs + 1, distance, length)
        else:
            found.append(PlacesAlike(start, 1, length, length))
    return found


class PenaltiesTogether:
    """The penalties of one kind in a pack, whatever their strengths.

    Args:
        name: a key of `TOGETHER`.
        members: the members that have it, by place, with their strengths.
        layers: the packed layers, whose weights it acts on.
    """

    def __init__(self, name: str, members: dict[int, float], layers: Iterable[PackedLayer]) -> None:
        self._value, self._gradient = TOGETHER[name]
        self._layers = [
            (layer.weight, layer.weight_grad)
            for layer in layers
            if layer.weight is not None and layer.weight_grad is not None
        ]
        self._groups = [(group, self._column(group, members)) for group in alike(sorted(members))]

    def _column(self, group: PlacesAlike, members: dict[int, float]) -> Tensor:
        like = self._layers[0][0]
        strengths = torch.tensor([members[place] for place in group], dtype=like.dtype)
        return strengths.to(like.device).view(group.runs, group.length, 1, 1)

    def add(self, values: Tensor) -> None:
        """Add penalties to (K,) and their gradients to those of the weights."""
        for group, strengths in self._groups:
            totals = group.of(values)
            for weight, grad in self._layers:
                chosen = _as_matrices(group.of(weight))
                _as_matrices(group.of(grad)).addcmul_(self._gradient(chosen), strengths)
                totals.addcmul_(self._value(chosen), strengths[:, :, 0, 0])


def _as_matrices(weights: Tensor) -> Tensor:
    """Return (groups, members, outputs, ...) as a view (groups, members, outputs, rest)."""
    return weights.view(*weights.shape[:3], -1)


def together(members: Sequence[Any], layers: Sequence[PackedLayer]) -> list[PenaltiesTogether]:
    """Return the penalties of a pack that are in `TOGETHER`.

    Args:
        members: the modules, with `.regularizer`.
        layers: their packed layers.
    """
    strengths: dict[str, dict[int, float]] = {}
    for place, member in enumerate(members):
        if member.regularizer.name in TOGETHER:
            kind = strengths.setdefault(member.regularizer.name, {})
            kind[place] = member.regularizer.parameters["strength"]
    return [PenaltiesTogether(name, found, layers) for name, found in strengths.items()]
