"""Logic gates: the four corners of the unit square, classified by and, or, nand or xor."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import torch

from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.generate import normal, rows

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""The four possible inputs, in the order in which they are repeated."""

TRUTH = {"and": (0, 0, 0, 1), "or": (0, 1, 1, 1), "nand": (1, 1, 1, 0), "xor": (0, 1, 1, 0)}
"""What each gate answers to each of the corners."""


class Gates(TensorDataModule):
    """Sample i is corner i mod 4 of the unit square, with or without noise; its class is the gate's answer.

    and, or and nand can be told apart by one line, so a perceptron learns them; xor cannot, and needs
    two layers: xor(a, b) = and(nand(a, b), or(a, b)).

    Generated from fixed seeds, whatever `seed` is: `seed` names split and orders only. Smaller n are
    prefixes of larger ones, and all gates and noise levels share their draws.

    Args:
        gate: `and`, `or`, `nand` or `xor`.
        n: samples in all, 20 to 1,000,000; each corner comes n / 4 times (the first ones once more
            where 4 does not divide n).
        noise: standard deviation of the noise in each coordinate.
        **options: see `TensorDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Saito, Deep Learning from Scratch, 2; Minsky and Papert, Perceptrons, 1969.
    """

    name = "gates"
    facts = FACTS["gates"]

    def __init__(
        self, *, gate: str = "xor", n: int = 200, noise: float = 0.0, **options: Unpack[Options]
    ) -> None:
        super().__init__(
            DATA.choose({self.name: {"gate": gate, "n": n, "noise": noise}}).parameters, **options
        )
        self.gate = gate
        self.n = n
        self.noise = noise

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, 2) float32, classes (n,) int64."""
        corners = np.arange(self.n) % len(CORNERS)
        points = np.array(CORNERS)[corners] + self.noise * normal(self.facts.content, "noise", (self.n, 2))
        return Samples(rows(points), torch.tensor(TRUTH[self.gate])[torch.from_numpy(corners)]), None
