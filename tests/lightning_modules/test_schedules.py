"""Schedules against hand-worked rates, torch's own schedulers and a run in a bare Trainer."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn, optim
from torch.optim import lr_scheduler

from recipebench.datamodules import Digits
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules import MLP
from recipebench.lightning_modules.catalog import SCHEDULES as CATALOG
from recipebench.lightning_modules.schedule_rules import (
    MEASURED,
    RULES,
    plateau,
    schedule_problem,
    scheduled_rate,
)
from recipebench.lightning_modules.schedules import SCHEDULES, make_scheduler

EPOCHS = 30
RATE = 0.3

Scheduler = Callable[[optim.Optimizer], lr_scheduler.LRScheduler]


def optimizer() -> optim.Optimizer:
    return optim.SGD([nn.Parameter(torch.zeros(1))], lr=RATE)


def stepped(scheduler: Any, sgd: optim.Optimizer, epochs: int = EPOCHS) -> list[float]:
    """Return the rate of every epoch, as a scheduler sets it."""
    rates = []
    for _ in range(epochs):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        scheduler.step()
    return rates


def rates_of(spec: Any, epochs: int = EPOCHS, losses: Sequence[float] = ()) -> list[float]:
    choice = CATALOG.choose(spec)
    return [scheduled_rate(choice, RATE, epoch, epochs, losses) for epoch in range(1, epochs + 1)]


def test_every_schedule_has_a_rule() -> None:
    assert {*RULES, *MEASURED} == set(SCHEDULES) == set(CATALOG)


def test_the_rules_load_no_torch() -> None:
    code = "import sys, recipebench.lightning_modules.schedule_rules; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_hand_worked_rates() -> None:
    """The first is the table of Ng, Improving Deep Neural Networks, 2.9."""
    worked: dict[str, tuple[float, dict[str, Any], list[float]]] = {
        "inverse_time": (0.2, {"decay": 1.0}, [0.2 / 2, 0.2 / 3, 0.2 / 4, 0.2 / 5]),
        "exponential": (1.0, {}, [0.95, 0.9025, 0.857375]),
        "root": (0.6, {"k": 2.0}, [1.2, 1.2 / math.sqrt(2), 1.2 / math.sqrt(3), 0.6]),
        "staircase": (0.8, {"every": 2}, [0.8, 0.8, 0.4, 0.4, 0.2, 0.2, 0.1]),
        "manual": (1.0, {"epochs": [1, 4]}, [1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        "cosine": (2.0, {}, [2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5)]),
        "warmup": (1.0, {"length": 4}, [0.25, 0.5, 0.75, 1.0]),
        "constant": (0.7, {}, [0.7, 0.7, 0.7]),
    }
    for name, (rate, given, expected) in worked.items():
        choice, epochs = CATALOG.choose({name: given}), len(expected)
        got = [scheduled_rate(choice, rate, epoch, epochs) for epoch in range(1, epochs + 1)]
        assert got == pytest.approx(expected, rel=1e-12), name
    assert set(worked) == set(RULES)
    assert [round(r, 3) for r in worked["inverse_time"][2]] == [0.1, 0.067, 0.05, 0.04]


TORCHS: list[tuple[Any, Scheduler]] = [
    ({"exponential": {"gamma": 0.9, "first_epoch": 0}}, lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    ({"staircase": {"every": 4}}, lambda o: lr_scheduler.StepLR(o, 4, gamma=0.5)),
    ({"manual": {"epochs": [3, 4, 20]}}, lambda o: lr_scheduler.MultiStepLR(o, [3, 4, 20], gamma=0.1)),
    ("cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS)),
    ({"cosine": {"minimum": 0.1}}, lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS, eta_min=0.1 * RATE)),
    ({"warmup": {"length": 5}}, lambda o: lr_scheduler.LinearLR(o, start_factor=0.2, total_iters=4)),
    (
        {"inverse_time": {"decay": 0.5, "first_epoch": 0}},
        lambda o: lr_scheduler.LambdaLR(o, lambda passed: 1 / (1 + 0.5 * passed)),
    ),
]


@pytest.mark.parametrize(("spec", "theirs"), TORCHS, ids=[str(spec) for spec, _ in TORCHS])
def test_rates_are_those_of_torchs_scheduler(spec: Any, theirs: Scheduler) -> None:
    """Torch multiplies the last rate again and again, which rounds each time; ours is the formula."""
    sgd = optimizer()

    expected = stepped(theirs(sgd), sgd)

    assert rates_of(spec) == pytest.approx(expected, rel=1e-13, abs=1e-16)


@pytest.mark.parametrize("name", [name for name in RULES if name != "constant"])
def test_the_scheduler_sets_the_very_floats_of_the_rule(name: str) -> None:
    sgd = optimizer()
    scheduler = make_scheduler(CATALOG.choose(name), sgd, EPOCHS)

    assert type(scheduler) is lr_scheduler.LambdaLR
    assert stepped(scheduler, sgd) == rates_of(name)


def test_a_constant_rate_needs_no_scheduler() -> None:
    assert make_scheduler(CATALOG.choose("constant"), optimizer(), EPOCHS) is None
    assert rates_of("constant") == [RATE] * EPOCHS


LOSSES = {
    "falling": [2.0 / (i + 1) for i in range(20)],
    "flat": [1.0] * 20,
    "hardly falling": [1 - 0.00004 * i for i in range(20)],
    "up and down": [1, 2, 0.5, 0.6, 0.7, 0.4, 0.4, 0.41, 0.39, 3, 3, 3, 3, 3, 0.1, 0.2, 0.2, 0.2, 0.2, 0.2],
    "not finite": [1, math.nan, math.inf, math.nan, 0.5, math.nan, math.nan, math.nan, 0.4, math.inf],
    "negative": [-1.0, -1.00005, -2.0, -2.0, -1.5, -1.5, -3, -3, -3, -3],
}


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize(("factor", "patience"), [(0.1, 2), (0.5, 0), (0.3, 1), (0.9, 10)])
def test_a_plateau_is_torchs(losses: list[float], factor: float, patience: int) -> None:
    choice = CATALOG.choose({"plateau": {"factor": factor, "patience": patience}})
    sgd = optimizer()
    scheduler: Any = make_scheduler(choice, sgd, EPOCHS)
    expected = []
    for loss in losses:
        expected.append(sgd.param_groups[0]["lr"])
        scheduler.step(loss)

    got = [scheduled_rate(choice, RATE, epoch, EPOCHS, losses) for epoch in range(1, len(losses) + 1)]

    assert type(scheduler) is lr_scheduler.ReduceLROnPlateau
    assert got == expected


def test_a_plateau_reads_only_epochs_that_are_over() -> None:
    choice = CATALOG.choose({"plateau": {"patience": 0}})

    assert scheduled_rate(choice, RATE, 1, EPOCHS, [1.0, 1.0, 1.0]) == RATE
    assert scheduled_rate(choice, RATE, 2, EPOCHS, [1.0, 1.0, 1.0]) == RATE
    assert scheduled_rate(choice, RATE, 3, EPOCHS, [1.0, 1.0, 1.0]) < RATE


def test_a_plateau_has_the_defaults_of_torch_but_for_its_patience() -> None:
    theirs = inspect.signature(lr_scheduler.ReduceLROnPlateau).parameters
    scheduler: Any = make_scheduler(CATALOG.choose("plateau"), optimizer(), EPOCHS)

    assert CATALOG.choose("plateau").parameters["factor"] == theirs["factor"].default
    for name in ("mode", "threshold", "threshold_mode", "cooldown", "eps"):
        assert getattr(scheduler, name) == theirs[name].default
    assert scheduler.min_lrs == [theirs["min_lr"].default]


def test_a_tiny_step_down_is_not_taken() -> None:
    assert plateau(1e-8, [1.0, 1.0], factor=0.5, patience=0) == 1e-8


@pytest.mark.parametrize("name", ["inverse_time", "exponential"])
def test_the_first_epoch_can_have_the_full_rate(name: str) -> None:
    shifted = rates_of({name: {"first_epoch": 0}})

    assert shifted[0] == RATE
    assert shifted[1:] == rates_of(name)[:-1]


@pytest.mark.parametrize("name", CATALOG)
def test_every_schedule_by_name_alone_fits_every_run(name: str) -> None:
    for epochs in (1, 2, 10, 200):
        assert schedule_problem(CATALOG.choose(name), epochs) is None
        rates = rates_of(name, epochs, losses=[1.0] * epochs)
        assert all(math.isfinite(rate) and rate > 0 for rate in rates)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"root": {"first_epoch": 0}},
            "schedule root: first_epoch: expected 1, since k / sqrt(0) has no value, got 0.",
        ),
        (
            {"manual": {"epochs": [8, 5]}},
            "schedule manual: epochs: expected numbers that rise, got [8, 5].",
        ),
        (
            {"manual": {"epochs": [5, 5]}},
            "schedule manual: epochs: expected numbers that rise, got [5, 5].",
        ),
    ],
    ids=str,
)
def test_a_schedule_without_a_rate_is_refused(spec: Any, message: str) -> None:
    choice = CATALOG.choose(spec)

    assert schedule_problem(choice, 10) == message
    with pytest.raises(RequestError) as caught:
        make_scheduler(choice, optimizer(), 10)
    assert str(caught.value) == message


def test_a_schedule_of_ones_own_is_a_rule_of_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEDULES, "halved", lambda epoch, total: 0.5)
    sgd = optimizer()

    assert stepped(make_scheduler(Choice("halved", {}), sgd, 3), sgd, 3) == [RATE / 2] * 3
    assert scheduled_rate(Choice("halved", {}), RATE, 1, 3) == RATE / 2


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(KeyError, match="triangular"):
        scheduled_rate(Choice("triangular", {}), RATE, 1, 10)


class Watch(Callback):
    """Notes the rate that each epoch's steps were taken with, and the validation losses."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if len(self.rates) == trainer.current_epoch:
            self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.losses.append(float(trainer.callback_metrics["validation_loss"]))


@pytest.mark.parametrize("spec", ["inverse_time", "cosine", {"plateau": {"patience": 0, "factor": 0.5}}])
def test_lightning_trains_at_the_scheduled_rates(spec: Any, bare_trainer: Callable[..., Trainer]) -> None:
    watch, epochs = Watch(), 6
    model = MLP(in_features=64, hidden=[8], init_seed=0, optimizer={"sgd": {"lr": 2.0}}, schedule=spec)
    trainer = bare_trainer(epochs, num_sanity_val_steps=0, callbacks=[watch])

    trainer.fit(model, datamodule=Digits(batch_size=256))

    choice = CATALOG.choose(spec)
    expected = [scheduled_rate(choice, 2.0, epoch, epochs, watch.losses) for epoch in range(1, epochs + 1)]
    assert watch.rates == expected
    assert len(set(expected)) > 1
