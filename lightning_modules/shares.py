"""A process's share of what several do together: its part of every batch, and sums over all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed


class DriftError(RuntimeError):
    """Processes that ought to hold equal numbers do not; what they train is no longer one model."""


@dataclass(frozen=True)
class Share:
    """The part of one process among several that train one model; by default a single process has it all.

    Samples are cut in their order into parts of equal size, up to one. What is to be added up goes through
    torch's default process group, which the processes have joined before.

    Args:
        rank: the number of this process, from 0.
        ranks: how many there are.

    Example:
        >>> [Share(rank, 3).part(10) for rank in range(3)]
        [(0, 3), (3, 6), (6, 10)]
    """

    rank: int = 0
    ranks: int = 1

    def part(self, samples: int) -> tuple[int, int]:
        """Return where this process's part of some samples begins and ends."""
        return self.rank * samples // self.ranks, (self.rank + 1) * samples // self.ranks

    def cut(self, samples: Tensor, dim: int = 0) -> Tensor:
        """Return this process's part of a tensor, as a view.

        Args:
            samples: all samples, along `dim`.
            dim: the dimension that is cut.
        """
        start, stop = self.part(samples.shape[dim])
        return samples.narrow(dim, start, stop - start)

    def weight(self, samples: int) -> float:
        """Return what a part's mean counts in the mean of all parts' means, so that every sample counts once.

        Args:
            samples: in all parts together.

        Example:
            >>> [Share(rank, 2).weight(3) for rank in range(2)]
            [0.6666666666666666, 1.3333333333333333]
        """
        start, stop = self.part(samples)
        return self.ranks * (stop - start) / samples

    def add_up(self, values: Tensor) -> Tensor:
        """Replace numbers by their sums over all processes, in place, and return them."""
        if self.ranks > 1:
            distributed.all_reduce(values)
        return values

    def assemble(self, own: Tensor, sizes: list[int]) -> Tensor:
        """Put the parts of all processes together, in the order of one device.

        Args:
            own: (K, samples of this process), its parts of some batches, one after the other.
            sizes: of each batch, all parts together.

        Returns:
            (K, samples of all), the same bits in every process.
        """
        if self.ranks == 1:
            return own
        together = own.new_zeros(len(own), sum(sizes))
        first, taken = 0, 0
        for size in sizes:
            start, stop = self.part(size)
            together[:, first + start : first + stop] = own[:, taken : taken + stop - start]
            first, taken = first + size, taken + stop - start
        return self.add_up(together)

    def check_equal(self, values: Tensor) -> None:
        """Make sure that all processes hold the same bits.

        Args:
            values: of any shape, the same in every process.

        Raises:
            DriftError: this process has others than the first one.
        """
        mine = values.detach().contiguous().flatten().view(torch.uint8)
        first = mine.clone()
        distributed.broadcast(first, src=0)
        differ = self.add_up((mine != first).any().long())
        if differ:
            raise DriftError("the processes hold different weights: their steps were not the same.")
