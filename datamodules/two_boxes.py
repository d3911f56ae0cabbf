"""Two boxes of colored balls: the smallest example of Bayes' rule, with its exact answer."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import torch

from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.generate import Array, uniform


def posterior(balls: Array, prior: Array) -> Array:
    """Bayes' rule: P(box | color) = P(color | box) P(box) / sum over boxes of P(color | box) P(box).

    Args:
        balls: (boxes, colors): how many balls of each color are in each box.
        prior: (boxes,): the probability of each box.

    Returns:
        (colors, boxes) float64; each row sums to 1.

    Example:
        >>> posterior(np.array([[4.0, 1.0], [2.0, 3.0]]), np.array([0.6, 0.4])).round(9).tolist()
        [[0.75, 0.25], [0.333333333, 0.666666667]]
    """
    joint: Array = balls / balls.sum(axis=1, keepdims=True) * prior[:, None]
    posterior: Array = joint / joint.sum(axis=0)
    return posterior.T


class TwoBoxes(TensorDataModule):
    """A box is chosen, class 0 with probability `prior`, then one of its balls; seen is the ball's color.

    The input is the color, one-hot: blue (1, 0), green (0, 1). No model can beat the posterior
    P(box | color), which `posterior` gives.

    Generated from fixed seeds, whatever `seed` is: `seed` names split and orders only. Smaller n are
    prefixes of larger ones, and all counts and priors share their draws.

    Args:
        n: samples in all, 10 to 1,000,000.
        prior: probability of the first box, class 0.
        blue_1: blue balls in the first box.
        green_1: green balls in the first box.
        blue_2: blue balls in the second box.
        green_2: green balls in the second box.
        **options: see `TensorDataModule`.

    Attributes:
        posterior: (2 colors, 2 boxes) float64: P(box | color).

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Lee, Machine Learning, Classification: Probabilistic Generative Model; Bishop, Pattern
        Recognition and Machine Learning, 1.2.
    """

    name = "two_boxes"
    facts = FACTS["two_boxes"]

    def __init__(
        self,
        *,
        n: int = 1000,
        prior: float = 0.6,
        blue_1: int = 4,
        green_1: int = 1,
        blue_2: int = 2,
        green_2: int = 3,
        **options: Unpack[Options],
    ) -> None:
        given = {"n": n, "prior": prior, "blue_1": blue_1, "green_1": green_1}
        given |= {"blue_2": blue_2, "green_2": green_2}
        super().__init__(DATA.choose({self.name: given}).parameters, **options)
        self.n = n
        self.prior = prior
        self.balls: Array = np.array([[blue_1, green_1], [blue_2, green_2]], np.float64)
        self.posterior = posterior(self.balls, np.array([prior, 1.0 - prior]))

    def load(self) -> tuple[Samples, None]:
        """Generate the samples: inputs (n, 2) float32, classes (n,) int64."""
        draws = uniform(self.facts.content, "draws", (self.n, 2))
        boxes = (draws[:, 0] >= self.prior).astype(np.int64)
        blue = (self.balls[:, 0] / self.balls.sum(axis=1))[boxes]
        colors = (draws[:, 1] >= blue).astype(np.int64)
        return Samples(torch.eye(2)[torch.from_numpy(colors)], torch.from_numpy(boxes)), None
