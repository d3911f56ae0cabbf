"""Surfaces that an optimizer walks down: functions of one or two numbers, with their start and minima."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Unpack

import torch
from torch import Tensor

from recipebench.datamodules.catalog import DATA, FACTS
from recipebench.datamodules.draws import generator
from recipebench.datamodules.options import (
    Options,
    refuse_changes_of_samples,
)
from recipebench.datamodules.recorded import RecordedDataModule
from recipebench.errors import RequestError
from recipebench.levels import Value


def parabola(w: Tensor, coefficients: Sequence[float] = (1.0, -20.0, 100.0)) -> Tensor:
    """x0 w² + x1 w + x2, the coefficients x fed as data; its minimum is at -x1 / (2 x0).

    Args:
        w: (1,).
        coefficients: x0, x1, x2; (1, -10, 25) is (w - 5)², (1, -20, 100) is (w - 10)².

    Returns:
        A scalar.

    Example:
        >>> parabola(torch.zeros(1), (1.0, -10.0, 25.0))
        tensor(25.)

    References:
        Ng, Improving Deep Neural Networks, 3.11 (the TensorFlow listing).
    """
    x0, x1, x2 = coefficients
    return (x0 * w.square() + x1 * w + x2).sum()


def bowl(w: Tensor, condition: float = 20.0, rotation: float = 0.0) -> Tensor:
    """u² / condition + v², (u, v) being w turned by -rotation: eigenvalues 2 / condition and 2.

    The Hessian's condition number is `condition`. Gradient descent is stable for rates below 2 / 2 = 1,
    whatever the condition is; the flat axis then takes about `condition` times as many steps.

    Args:
        w: (2,).
        condition: 1 for a round bowl; 20 is the source's x² / 20 + y².
        rotation: of the flat axis against the first coordinate, in degrees.

    Returns:
        A scalar.

    Example:
        >>> bowl(torch.tensor([-7.0, 2.0]))
        tensor(6.4500)

    References:
        Saito, Deep Learning from Scratch, optimizers (x² / 20 + y²) and partial derivatives (condition
        1); Ng, Improving Deep Neural Networks, 2.6.
    """
    angle = math.radians(rotation)
    cosine, sine = math.cos(angle), math.sin(angle)
    u, v = cosine * w[0] + sine * w[1], cosine * w[1] - sine * w[0]
    return u.square() / condition + v.square()


def saddle(w: Tensor) -> Tensor:
    """x² / 2 + y⁴ / 4 - y² / 2: a saddle at (0, 0), minima of -1/4 at (0, 1) and (0, -1).

    From any start on the axis y = 0 gradient descent runs into the saddle and stays.

    Args:
        w: (2,), (x, y).

    Returns:
        A scalar.

    Example:
        >>> saddle(torch.tensor([0.0, 1.0]))
        tensor(-0.2500)

    References:
        Nesterov, Introductory Lectures on Convex Optimization, 2004, 1.2.3; Ng, Improving Deep Neural
        Networks, 2.10.
    """
    x, y = w[0], w[1]
    return x.square() / 2 + y.square().square() / 4 - y.square() / 2


def plateau(w: Tensor) -> Tensor:
    """1 - exp(-||w||² / 2): a hole in a plain that is flat far away, gradient ||w|| exp(-||w||² / 2).

    Args:
        w: (2,).

    Returns:
        A scalar, in [0, 1).

    Example:
        >>> plateau(torch.zeros(2))
        tensor(0.)

    References:
        Dennis and Welsch, Techniques for Nonlinear Least Squares and Robust Regression, 1978 (Welsch's
        function); Ng, Improving Deep Neural Networks, 2.10.
    """
    return 1 - (-w.square().sum() / 2).exp()


class Surface:
    """A function with the place where a walk starts, and those where it should end.

    Args:
        function: from w, (d,), to a scalar, differentiable.
        start: (d,) float64.
        minima: (places, d) float64, all places of the smallest value.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], start: Tensor, minima: Tensor) -> None:
        self.function = function
        self.start = start
        self.minima = minima

    def __call__(self, w: Tensor) -> Tensor:
        """Return f(w): (d,) to a scalar."""
        return self.function(w)

    def distance(self, w: Tensor) -> Tensor:
        """Return ||w - w*||, w* being the nearest of the minima: (d,) to a float64 scalar."""
        distances: Tensor = (w.detach().cpu().double() - self.minima).norm(dim=1)
        return distances.min()


class Steps:
    """A loader for walks: the surface itself, once for every step of an epoch.

    An ordinary iterable that Lightning takes for a `DataLoader`.

    Args:
        surface: what is walked on.
        steps: optimizer steps an epoch.
    """

    def __init__(self, surface: Surface, steps: int) -> None:
        self.surface = surface
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Surface]:
        """Yield the surface, `steps` times."""
        for _ in range(self.steps):
            yield self.surface


class SurfaceDataModule(RecordedDataModule):
    """A function to minimize, as a Lightning data module; all splits are the function itself.

    Args:
        parameters: the surface's own parameters in canonical form, all of them.
        documented: the start that the source gives, d numbers.
        steps_per_epoch: optimizer steps an epoch.
        spread: standard deviation of the start around the documented one, in each coordinate, drawn for
            each seed; 0 starts there, whatever the seed is.
        seed: names the draw of the start.
        batch_size, validation, last_batch, sampling: as of the other data sets, whose samples there are
            none of here: a step sees all of the function, so the batch size is 1 whatever is said.
        inputs, train_samples, label_noise, augmentation: likewise; what would change samples is refused.

    Attributes:
        name: as in suites and records.
        facts: what is known of the surface.
        needs_files: False.
        choice: name and parameters.
        key: name and parameters as one string.
        surface: the function with its start and minima.

    Raises:
        RequestError: an option has the wrong type or value, or has no meaning here.
    """

    def __init__(
        self,
        parameters: Mapping[str, Value],
        documented: Sequence[float],
        *,
        steps_per_epoch: int,
        spread: float,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(parameters, batch_size=options.get("batch_size", 1), seed=options.get("seed", 0))
        self.batch_size = 1
        self.steps_per_epoch = steps_per_epoch
        refuse_changes_of_samples(options, self.facts, self.name, "a surface")
        start = torch.tensor(documented, dtype=torch.float64)
        noise = torch.randn(
            len(start), generator=generator("start", self.name, self.seed), dtype=torch.float64
        )
        self.surface = Surface(self.function, start + spread * noise, self.minima())

    @abstractmethod
    def function(self, w: Tensor) -> Tensor:
        """Return the value at a point: (d,) to a scalar."""

    @abstractmethod
    def minima(self) -> Tensor:
        """Return all places of the smallest value: (places, d) float64."""

    def setup(self, stage: str | None = None) -> None:
        """Do nothing: there is nothing to load."""

    def train_dataloader(self) -> Steps:
        """Return the surface, once for each step of an epoch."""
        return Steps(self.surface, self.steps_per_epoch)

    def val_dataloader(self) -> Steps:
        """Return the surface, once."""
        return Steps(self.surface, 1)

    def test_dataloader(self) -> Steps:
        """Return the surface, once."""
        return Steps(self.surface, 1)


class QuadraticToy(SurfaceDataModule):
    """f(w) = x0 w² + x1 w + x2 from w = 0, as in the listing; see `parabola`.

    Args:
        coefficients: x0, x1, x2, x0 above 0.
        steps_per_epoch: optimizer steps an epoch; the listing takes 1, and then 1000 more.
        spread: standard deviation of the start around 0.
        **options: see `SurfaceDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Ng, Improving Deep Neural Networks, 3.11.
    """

    name = "quadratic_toy"
    facts = FACTS["quadratic_toy"]

    def __init__(
        self,
        *,
        coefficients: Sequence[float] = (1.0, -20.0, 100.0),
        steps_per_epoch: int = 100,
        spread: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        own = {"coefficients": coefficients, "steps_per_epoch": steps_per_epoch, "spread": spread}
        chosen = DATA.choose({self.name: own}).parameters
        self.coefficients = tuple(float(x) for x in coefficients)
        if len(self.coefficients) != 3 or not self.coefficients[0] > 0:
            raise RequestError(
                f"quadratic_toy: coefficients: expected three numbers, the first above 0, so that there is a "
                f"minimum, got {list(coefficients)!r:.80}."
            )
        super().__init__(chosen, [0.0], steps_per_epoch=steps_per_epoch, spread=spread, **options)

    def function(self, w: Tensor) -> Tensor:
        """Return x0 w² + x1 w + x2."""
        return parabola(w, self.coefficients)

    def minima(self) -> Tensor:
        """Return -x1 / (2 x0)."""
        x0, x1, _ = self.coefficients
        return torch.tensor([[-x1 / (2 * x0)]], dtype=torch.float64)


class QuadraticBowl(SurfaceDataModule):
    """f(w) = u² / condition + v² from (u, v) = (-7, 2), (u, v) being w turned by -rotation; see `bowl`.

    The start turns with the bowl, so gradient descent loses the same at every rotation; methods with a
    rate for each coordinate do not.

    Args:
        condition: the Hessian's condition number, 1 for a round bowl.
        rotation: of the flat axis against the first coordinate, in degrees.
        steps_per_epoch: optimizer steps an epoch.
        spread: standard deviation of the start.
        **options: see `SurfaceDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Saito, Deep Learning from Scratch, optimizers (the start, and condition 20); Ng, Improving Deep
        Neural Networks, 2.6.
    """

    name = "quadratic_bowl"
    facts = FACTS["quadratic_bowl"]

    def __init__(
        self,
        *,
        condition: float = 20.0,
        rotation: float = 0.0,
        steps_per_epoch: int = 100,
        spread: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        own = {
            "condition": condition,
            "rotation": rotation,
            "steps_per_epoch": steps_per_epoch,
            "spread": spread,
        }
        chosen = DATA.choose({self.name: own}).parameters
        self.condition, self.rotation = float(condition), float(rotation)
        angle = math.radians(rotation)
        cosine, sine = math.cos(angle), math.sin(angle)
        start = [-7 * cosine - 2 * sine, -7 * sine + 2 * cosine]
        super().__init__(chosen, start, steps_per_epoch=steps_per_epoch, spread=spread, **options)

    def function(self, w: Tensor) -> Tensor:
        """Return u² / condition + v²."""
        return bowl(w, self.condition, self.rotation)

    def minima(self) -> Tensor:
        """Return (0, 0)."""
        return torch.zeros(1, 2, dtype=torch.float64)


class Saddle(SurfaceDataModule):
    """f(x, y) = x² / 2 + y⁴ / 4 - y² / 2 from (1, 0), or near it; see `saddle`.

    Args:
        steps_per_epoch: optimizer steps an epoch.
        spread: standard deviation of the start around (1, 0); at 0 the walk ends in the saddle.
        **options: see `SurfaceDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Nesterov, Introductory Lectures on Convex Optimization, 2004, 1.2.3 (the start, too).
    """

    name = "saddle"
    facts = FACTS["saddle"]

    def __init__(
        self, *, steps_per_epoch: int = 100, spread: float = 0.001, **options: Unpack[Options]
    ) -> None:
        chosen = DATA.choose({self.name: {"steps_per_epoch": steps_per_epoch, "spread": spread}}).parameters
        super().__init__(chosen, [1.0, 0.0], steps_per_epoch=steps_per_epoch, spread=spread, **options)

    def function(self, w: Tensor) -> Tensor:
        """Return x² / 2 + y⁴ / 4 - y² / 2."""
        return saddle(w)

    def minima(self) -> Tensor:
        """Return (0, 1) and (0, -1)."""
        return torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)


class Plateau(SurfaceDataModule):
    """f(w) = 1 - exp(-||w||² / 2) from (3, 1), where the gradient is 0.02; see `plateau`.

    Args:
        steps_per_epoch: optimizer steps an epoch.
        spread: standard deviation of the start around (3, 1).
        **options: see `SurfaceDataModule`.

    Raises:
        RequestError: a parameter or option has the wrong type or value.

    References:
        Dennis and Welsch 1978 (the function); the start is ours.
    """

    name = "plateau"
    facts = FACTS["plateau"]

    def __init__(
        self, *, steps_per_epoch: int = 100, spread: float = 0.0, **options: Unpack[Options]
    ) -> None:
        chosen = DATA.choose({self.name: {"steps_per_epoch": steps_per_epoch, "spread": spread}}).parameters
        super().__init__(chosen, [3.0, 1.0], steps_per_epoch=steps_per_epoch, spread=spread, **options)

    def function(self, w: Tensor) -> Tensor:
        """Return 1 - exp(-||w||² / 2)."""
        return plateau(w)

    def minima(self) -> Tensor:
        """Return (0, 0)."""
        return torch.zeros(1, 2, dtype=torch.float64)
