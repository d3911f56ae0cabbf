"""Temperatures: a year's seasons measured with noise, and the task to tell tomorrow from the last days."""

from __future__ import annotations

from typing import Unpack

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import DATA, FACTS, facts_of
from recipebench.datamodules.generate import Array, column, cosine, normal, rows

MEAN = 10.0
"""Mean of the year, in degrees Celsius."""

AMPLITUDE = 10.0
"""How much warmer midsummer is than the mean, in degrees Celsius."""


def season(days: Array) -> Array:
    """True temperature = 10 - 10 cos(2 pi day / 365), in degrees Celsius: coldest on day 0.

    Args:
        days: counted from 0, any shape.

    Example:
        >>> season(np.array([0.0, 365 / 4, 365 / 2, 365.0])).round(9).tolist()
        [0.0, 10.0, 20.0, 0.0]
    """
    return MEAN - AMPLITUDE * cosine(days / 365.0)


class Temperatures(TensorDataModule):
    """Some years of days, measured = season + noise * N(0, 1); a sample is a window of `window` days.

    Sample i holds the temperatures measured on the days i to i + window - 1, oldest first, and its
    target is the temperature of day i + window. Inputs and targets are both in degrees Celsius, neither
    standardized, so that a weighted mean of the inputs is an estimate of the target.

    Split like any other data set, at random: windows overlap, so that the test days of this data set
    lie among the training days and measure smoothing, not the foretelling of another year.

    Generated from fixed seeds, whatever `seed` is: `seed` names split and orders only. The days of
    fewer years are the first of more, and all noise levels share their draws.

    Args:
        years: of 365 days each, 1 to 100.
        window: days in a sample, 1 to 300.
        noise: standard deviation of a day's measurement, in degrees Celsius.
        target: `true` (the season) or `measured` (with the noise of that day).
        **options: see `TensorDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Ng, Improving Deep Neural Networks, 2.3 (exponentially weighted averages of a year's days).
    """

    name = "temperatures"
    facts = FACTS["temperatures"]

    def __init__(
        self,
        *,
        years: int = 3,
        window: int = 50,
        noise: float = 3.0,
        target: str = "true",
        **options: Unpack[Options],
    ) -> None:
        given = {"years": years, "window": window, "noise": noise, "target": target}
        super().__init__(DATA.choose({self.name: given}).parameters, **options)
        self.facts = facts_of(self.choice)
        self.years = years
        self.window = window
        self.noise = noise
        self.target = target

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, window) float32, targets (n, 1) float32."""
        true = season(np.arange(365.0 * self.years))
        measured = true + self.noise * normal(self.facts.content, "noise", true.shape)
        targets = (true if self.target == "true" else measured)[self.window :]
        return Samples(rows(sliding_window_view(measured[:-1], self.window)), column(targets)), None
