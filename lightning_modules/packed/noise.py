"""Noise for all members of a pack in a few calls: a function of a member's seed, the draw and the place.

Generators draw one after the other, a call for each member and step, and a graphics processor waits for each.
Here every number is the hash of where it stands, so all of them are computed at once, those of a member are
the same in every pack, and what counts the draws lies on the device: no step needs this machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, odd: by how much the counter of SplitMix64 goes on."""

FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""What SplitMix64 multiplies by."""

BITS = 32
"""Bits of a hash that are compared with a probability."""


class CounterNoise:
    """K streams of noise on a device, addressed by seed, draw and place.

    Args:
        seeds: the seed of each member.
        device: where the noise is needed.

    References:
        Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014 (SplitMix64);
        Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011 (functions of a counter).
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._seeds = torch.tensor([_signed(seed) for seed in seeds]).to(device).unsqueeze(1)
        self._draws = torch.zeros((), dtype=torch.int64, device=device)

    def bernoulli(self, like: Tensor, probability: float) -> Tensor:
        """Return ones with a probability, else zeros; every call draws anew.

        Args:
            like: (K, ...), of the shape and type that is wanted.
            probability: of a one, to 1 in 2^32.
        """
        self._draws.add_(1)
        streams = mixed(self._seeds + mixed(self._draws * _signed(GOLDEN)))
        places = torch.arange(like[0].numel(), device=like.device).mul_(_signed(GOLDEN))
        bits = _shifted(mixed(streams + places), 64 - BITS)
        ones: Tensor = bits < round(probability * 2**BITS)
        return ones.to(like.dtype).view(like.shape)


def mixed(numbers: Tensor) -> Tensor:
    """Return SplitMix64's hash of every number, 64 bits as int64.

    Args:
        numbers: int64 of any shape; left alone.

    Example:
        >>> mixed(torch.tensor([0, 1])).tolist()
        [0, 6238072747940578789]
    """
    z = numbers ^ _shifted(numbers, 30)
    z.mul_(_signed(FIRST))
    z.bitwise_xor_(_shifted(z, 27)).mul_(_signed(SECOND))
    return z.bitwise_xor_(_shifted(z, 31))


def _shifted(numbers: Tensor, places: int) -> Tensor:
    """Shift to the right as if the numbers had no sign."""
    return (numbers >> places).bitwise_and_(2 ** (64 - places) - 1)


def _signed(number: int) -> int:
    """Return what 64 bits mean as a number with a sign."""
    number %= 2**64
    return number - 2**64 if number >= 2**63 else number
