"""A point on surfaces: hand-worked steps, thresholds of stability, saddles, plateaus, every optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from recipebench.datamodules import Plateau, QuadraticBowl, QuadraticToy, Saddle
from recipebench.errors import RequestError
from recipebench.lightning_modules import Point
from recipebench.lightning_modules.catalog import OPTIMIZERS
from recipebench.lightning_modules.optimizers import OPTIMIZERS as FACTORIES


@pytest.fixture
def walk(bare_trainer: Callable[..., Trainer]) -> Callable[..., Point]:
    """Let a point walk: `walk(data, epochs, **options)` returns it."""

    def run(data: Any, epochs: int = 1, *, dtype: torch.dtype = torch.float64, **options: Any) -> Point:
        point = Point(in_features=data.in_features, **options).to(dtype)
        bare_trainer(epochs, limit_val_batches=0).fit(point, datamodule=data)
        return point

    return run


def sgd(lr: float) -> dict[str, Any]:
    return {"optimizer": {"sgd": {"lr": lr}}}


# The listing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coefficients", "minimum", "first", "printed"),
    [([1, -10, 25], 5.0, 0.1, "4.99999"), ([1, -20, 100], 10.0, 0.2, "9.99998")],
)
def test_the_listings_walk(
    coefficients: list[float], minimum: float, first: float, printed: str, walk: Callable[..., Point]
) -> None:
    """w <- w - 0.01 (2 w - 2 w*), so w_t = w* (1 - 0.98^t): 0, then 0.1 or 0.2, then w* after 1000 more."""
    one = walk(QuadraticToy(coefficients=coefficients, steps_per_epoch=1), **sgd(0.01))
    thousand = walk(QuadraticToy(coefficients=coefficients, steps_per_epoch=1000), **sgd(0.01))
    single = walk(
        QuadraticToy(coefficients=coefficients, steps_per_epoch=1000), dtype=torch.float32, **sgd(0.01)
    )

    assert one.w.item() == pytest.approx(first, rel=1e-12)
    assert thousand.w.item() == pytest.approx(minimum * (1 - 0.98**1000), rel=1e-12)
    assert f"{single.w.item():.5f}" == printed  # steps below float32's resolution stop it


@pytest.mark.parametrize("steps", [1, 2, 10, 57])
def test_the_walk_is_the_closed_form_after_any_number_of_steps(
    steps: int, walk: Callable[..., Point]
) -> None:
    data = QuadraticToy(coefficients=[1, -10, 25], steps_per_epoch=steps)

    point = walk(data, **sgd(0.01))

    assert point.w.item() == pytest.approx(5 * (1 - 0.98**steps), rel=1e-13)
    scores = point.score(data, "validation")
    assert scores["distance"] == pytest.approx(5 * 0.98**steps, rel=1e-12)
    assert scores["loss"] == pytest.approx((5 * 0.98**steps) ** 2, rel=1e-9)


def test_momentum_by_hand(walk: Callable[..., Point]) -> None:
    """v = g = -10, w = 1; then g = -8, v = 0.5 (-10) - 8 = -13, w = 2.3."""
    data = QuadraticToy(coefficients=[1, -10, 25], steps_per_epoch=2)

    point = walk(data, optimizer={"momentum": {"lr": 0.1, "momentum": 0.5}})

    assert point.w.item() == pytest.approx(2.3, rel=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_takes_torchs_steps(name: str, walk: Callable[..., Point]) -> None:
    data = QuadraticBowl(steps_per_epoch=5)
    chosen: Any = OPTIMIZERS.choose(name)
    w = torch.nn.Parameter(data.surface.start.clone())
    optimizer = FACTORIES[name]([w], **chosen.parameters)
    for _ in range(10):
        optimizer.zero_grad()
        data.surface(w).backward()
        optimizer.step()

    point = walk(data, epochs=2, optimizer=name)

    assert torch.equal(point.w, w)


def test_a_schedule_changes_the_rate_from_epoch_to_epoch(walk: Callable[..., Point]) -> None:
    """Rates 0.1 and 0.05: 5 - w shrinks by 1 - 2 lr in each step."""
    data = QuadraticToy(coefficients=[1, -10, 25], steps_per_epoch=3)

    point = walk(data, epochs=2, schedule={"exponential": {"gamma": 0.5, "first_epoch": 0}}, **sgd(0.1))

    distance = 5 * (1 - 0.2) ** 3 * (1 - 0.1) ** 3
    assert point.score(data, "test")["distance"] == pytest.approx(distance, rel=1e-12)


# Surfaces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0.0, 33.0])
@pytest.mark.parametrize("condition", [1.0, 20.0, 300.0])
def test_gradient_descent_is_stable_below_two_over_the_largest_eigenvalue(
    condition: float, rotation: float, walk: Callable[..., Point]
) -> None:
    """The largest eigenvalue is 2, so the threshold is 1; above it the steep axis grows."""
    data = QuadraticBowl(condition=condition, rotation=rotation, steps_per_epoch=400)
    start = data.surface(data.surface.start).item()

    below, above = walk(data, **sgd(0.99)), walk(data, **sgd(1.01))

    assert below.score(data, "train")["loss"] < start
    assert above.score(data, "train")["loss"] > 1e3 * start


def test_each_axis_shrinks_by_its_own_factor(walk: Callable[..., Point]) -> None:
    """(1 - lr 2 / 20)^n along the flat axis, (1 - 2 lr)^n along the steep one: the source's rate of 0.95."""
    point = walk(QuadraticBowl(steps_per_epoch=30), **sgd(0.95))

    assert point.w.tolist() == pytest.approx([-7 * 0.905**30, 2 * (-0.9) ** 30], rel=1e-10)


def test_a_turned_bowl_is_the_same_to_gradient_descent_and_not_to_adam(walk: Callable[..., Point]) -> None:
    losses: dict[str, list[float]] = {}
    for name in ("sgd", "adam"):
        for rotation in (0.0, 45.0):
            data = QuadraticBowl(rotation=rotation, steps_per_epoch=50)
            point = walk(data, optimizer={name: {"lr": 0.3}})
            losses.setdefault(name, []).append(point.score(data, "train")["loss"])

    assert losses["sgd"][0] == pytest.approx(losses["sgd"][1], rel=1e-9)
    assert losses["adam"][0] != pytest.approx(losses["adam"][1], rel=0.1)


def test_on_its_axis_a_saddle_catches_gradient_descent_and_beside_it_it_does_not(
    walk: Callable[..., Point],
) -> None:
    caught = walk(Saddle(spread=0, steps_per_epoch=300), **sgd(0.1))
    free = walk(Saddle(spread=0.001, steps_per_epoch=300), **sgd(0.1))

    assert caught.w.tolist() == pytest.approx([0, 0], abs=1e-12)
    assert caught.score(Saddle(), "train")["distance"] == pytest.approx(1)
    assert free.score(Saddle(), "train")["distance"] < 1e-6
    assert free.score(Saddle(), "train")["loss"] == pytest.approx(-0.25)


def test_momentum_and_adam_leave_a_plateau_sooner(walk: Callable[..., Point]) -> None:
    distances = {}
    for name in ("sgd", "momentum", "adam"):
        data = Plateau(steps_per_epoch=60)
        distances[name] = walk(data, optimizer={name: {"lr": 0.1}}).score(data, "train")["distance"]

    assert distances["sgd"] > 2.5
    assert distances["momentum"] < 1.5
    assert distances["adam"] < 1.5


# The module --------------------------------------------------------------------------------------


def test_before_the_first_step_it_stands_at_the_start_and_is_placed_once() -> None:
    point, first, second = Point(), Plateau(seed=0), Plateau(spread=1.0, seed=1)

    scores = point.score(first, "train")

    assert scores == {"loss": pytest.approx(1 - 0.006737947), "distance": pytest.approx(10**0.5)}
    assert point.score(second, "test") == scores  # the same function, and the point stays
    assert point.w.tolist() == [3, 1]
    assert bool(point.placed)


def test_a_checkpoint_goes_on_where_it_was(walk: Callable[..., Point]) -> None:
    data = QuadraticBowl(steps_per_epoch=10)
    whole = walk(data, epochs=2, **sgd(0.3))
    half = walk(data, epochs=1, **sgd(0.3))
    rest = Point(**sgd(0.3)).double()
    rest.load_state_dict(half.state_dict())
    optimizer: Any = torch.optim.SGD([rest.w], lr=0.3)
    for k in range(10):
        optimizer.zero_grad()
        rest.training_step(data.surface, k)["loss"].backward()
        optimizer.step()

    assert torch.equal(rest.w, whole.w)


def test_a_trainer_validates_and_tests_it(bare_trainer: Callable[..., Trainer]) -> None:
    data = QuadraticBowl(steps_per_epoch=50)
    trainer = bare_trainer(2)
    point = Point(**sgd(0.5))

    trainer.fit(point, datamodule=data)
    validated = dict(trainer.callback_metrics)
    (tested,) = trainer.test(point, datamodule=data, verbose=False)

    scores = point.score(data, "test")
    assert tested == {
        "test_loss": pytest.approx(scores["loss"]),
        "test_distance": pytest.approx(scores["distance"]),
    }
    assert float(validated["validation_loss"]) == pytest.approx(scores["loss"])
    assert point.learning_rates() == [0.5]


def test_what_runs_away_is_not_finite(walk: Callable[..., Point]) -> None:
    point = walk(QuadraticBowl(steps_per_epoch=400), **sgd(50.0))

    assert point.finite().tolist() == [False]
    assert Point().finite().tolist() == [True]


def test_what_a_step_tells_the_record() -> None:
    step = Point(in_features=1).training_step(QuadraticToy().surface, 0)

    assert step["loss"].requires_grad
    assert step["losses"].tolist() == [100]
    assert not step["losses"].requires_grad
    assert step["penalty"].item() == 0
    assert isinstance(Point(), LightningModule)


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(RequestError, match="point: expected a surface of 2 coordinates, got one of 1"):
        Point(in_features=2).score(QuadraticToy(), "train")
    with pytest.raises(RequestError, match=r"point: Unknown split 'dev'. Known: test, train, validation"):
        Point(in_features=1).score(QuadraticToy(), "dev")
    with pytest.raises(RequestError, match="Unknown optimizer 'adm'"):
        Point(optimizer="adm")
