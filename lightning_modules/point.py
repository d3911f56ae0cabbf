"""A point on a surface: nothing but numbers that an optimizer moves, to see how it walks.

Sources: Ng, Improving Deep Neural Networks, 3.11 (the TensorFlow listing, as a LightningModule), 2.6 and
2.10 (bowls, saddles, plateaus); Saito, Deep Learning from Scratch, optimizers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from recipebench.errors import RequestError, unknown
from recipebench.lightning_modules.catalog import OPTIMIZERS, SCHEDULES
from recipebench.lightning_modules.recorded import SteppedModule
from recipebench.lightning_modules.supervised import Spec

if TYPE_CHECKING:
    from recipebench.datamodules.surfaces import Surface, SurfaceDataModule

SPLITS = ("train", "validation", "test")
"""What a score can be asked for; on a surface all are the same."""


class Point(SteppedModule):
    """w, stepped by any optimizer down the gradient of f(w), f being the surface of the data module.

    It is put on the start of the surface that it first meets, in training or to be scored.

    Args:
        in_features: coordinates.
        optimizer: a level of the catalog.
        schedule: a level of the catalog.

    Attributes:
        w: (in_features,).
        placed: bool scalar, whether w is on a surface; in the `state_dict`, so that a checkpoint goes on.

    Raises:
        RequestError: a level or one of its hyper-parameters is not known.

    Example:
        >>> from recipebench.datamodules import QuadraticToy
        >>> Point(in_features=1).score(QuadraticToy(), "train")
        {'loss': 100.0, 'distance': 10.0}

    References:
        Ng, Improving Deep Neural Networks, 3.11.
    """

    placed: Tensor
    task = "minimization"

    def __init__(self, *, in_features: int = 2, optimizer: Spec = "sgd", schedule: Spec = "constant") -> None:
        super().__init__()
        self.optimizer = OPTIMIZERS.choose(optimizer)
        self.schedule = SCHEDULES.choose(schedule)
        self.w = nn.Parameter(torch.zeros(in_features))
        self.register_buffer("placed", torch.tensor(False))

    def forward(self, surface: Surface) -> Tensor:
        """Return the surface's value where the point is: a scalar."""
        self.place(surface)
        return surface(self.w)

    @torch.no_grad()
    def place(self, surface: Surface) -> None:
        """Put the point on the surface's start, unless it has been put somewhere before.

        Raises:
            RequestError: the surface has another number of coordinates.
        """
        if surface.start.shape != self.w.shape:
            raise RequestError(
                f"point: expected a surface of {len(self.w)} coordinates, got one of {len(surface.start)}."
            )
        if not self.placed:
            self.w.copy_(surface.start)
            self.placed.fill_(True)

    def training_step(self, batch: Surface, batch_idx: int) -> dict[str, Tensor]:
        """Return the value to minimize, and for the record the same as the losses, and no penalty."""
        value = self(batch)
        return {"loss": value, "losses": value.detach().unsqueeze(0), "penalty": torch.zeros(())}

    def score(self, data: SurfaceDataModule, split: str) -> dict[str, float]:
        """Return `loss`, f(w), and `distance`, ||w - w*|| to the nearest minimum, both in float64.

        Args:
            data: the surface.
            split: `train`, `validation` or `test`: the same on a surface.

        Raises:
            RequestError: there is no such split, or the surface has another number of coordinates.
        """
        if split not in SPLITS:
            raise RequestError(f"point: {unknown('split', split, SPLITS)}")
        return self._scores(data.surface)

    def validation_step(self, batch: Surface, batch_idx: int) -> None:
        """Log `validation_loss` and `validation_distance`."""
        self._log("validation", batch)

    def test_step(self, batch: Surface, batch_idx: int) -> None:
        """Log `test_loss` and `test_distance`."""
        self._log("test", batch)

    @torch.no_grad()
    def _scores(self, surface: Surface) -> dict[str, float]:
        self.place(surface)
        return {"loss": float(surface(self.w.double())), "distance": float(surface.distance(self.w))}

    def _log(self, split: str, surface: Surface) -> None:
        scores = {f"{split}_{name}": value for name, value in self._scores(surface).items()}
        self.log_dict(scores, batch_size=1)
