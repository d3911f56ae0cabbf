"""The rule of convergence against numbers worked by hand, and the callback in a bare Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from pytorch_lightning import Callback, LightningModule, Trainer

from recipebench.datamodules import Digits
from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.regularizers import ConvergenceStopping
from recipebench.lightning_modules.stopping import has_converged


@pytest.mark.parametrize(
    ("losses", "options", "expected"),
    [
        ([], {}, False),
        ([1.0], {}, False),
        ([1.0, 0.995], {}, True),
        ([1.0, 1.005], {}, True),  # a rise is a change as well
        ([1.0, 0.98], {}, False),
        ([1.0, 0.98], {"tolerance": 0.03}, True),
        ([100.0, 99.5], {}, True),  # the change is relative
        ([2.0, 1.0, 0.999], {"patience": 2}, False),
        ([1.0, 0.999, 0.998], {"patience": 2}, True),
        ([1.0, 0.999, 0.5, 0.4999], {"patience": 2}, False),
        ([0.0, 0.0], {}, True),
        ([0.0, 1e-9], {}, False),
        ([-1.0, -1.005], {}, True),
        ([1.0, math.nan], {}, False),
        ([math.nan, math.nan], {}, False),
        ([math.inf, math.inf], {}, False),
        ([math.inf, 1.0], {}, False),
    ],
    ids=str,
)
def test_the_rule(losses: list[float], options: dict[str, Any], expected: bool) -> None:
    assert has_converged(losses, **options) is expected


class Minimized(Callback):
    """Adds up by hand what was minimized in each epoch."""

    def __init__(self) -> None:
        self.epochs: list[list[tuple[float, int]]] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs.append([])

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, outputs: Any, *rest: Any) -> None:
        self.epochs[-1].append((float(outputs["loss"].detach()), len(outputs["losses"])))

    def means(self) -> list[float]:
        return [sum(loss * n for loss, n in e) / sum(n for _, n in e) for e in self.epochs]


Fitted = tuple[Minimized, ConvergenceStopping, MLP]


@pytest.fixture
def fitted(bare_trainer: Callable[..., Trainer]) -> Callable[..., Fitted]:
    """Train until little changes: `fitted(epochs, tolerance, patience)`."""

    def run(epochs: int, tolerance: float, patience: int = 1) -> Fitted:
        watch = Minimized()
        model = MLP(
            in_features=64,
            hidden=[10],
            init_seed=0,
            optimizer={"sgd": {"lr": 0.5}},
            regularizer={"convergence_stopping": {"tolerance": tolerance, "patience": patience}},
        )
        trainer = bare_trainer(epochs, limit_val_batches=0, callbacks=[watch])
        trainer.fit(model, datamodule=Digits(batch_size=100))
        callbacks = getattr(trainer, "callbacks")  # noqa: B009
        stop: Any = next(c for c in callbacks if isinstance(c, ConvergenceStopping))
        return watch, stop, model

    return run


@pytest.mark.parametrize("patience", [1, 2])
def test_a_run_ends_with_the_first_epoch_that_changed_little(
    patience: int, fitted: Callable[..., Fitted]
) -> None:
    watch, stop, _ = fitted(40, tolerance=0.08, patience=patience)

    losses = watch.means()
    assert stop.losses == pytest.approx(losses, rel=1e-6)
    assert 2 < len(losses) < 40
    assert has_converged(losses, 0.08, patience)
    assert not any(has_converged(losses[:n], 0.08, patience) for n in range(len(losses)))


def test_a_run_that_goes_on_changing_is_not_stopped(fitted: Callable[..., Fitted]) -> None:
    watch, _, _ = fitted(3, tolerance=1e-6)

    assert len(watch.epochs) == 3
