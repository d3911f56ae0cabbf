"""DQN against hand-worked targets, value iteration, known fixed points, and itself run twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn

from recipebench.benchmarks.recorder import Recorder, Track
from recipebench.datamodules import CartPole, Catch, EnvironmentDataModule
from recipebench.datamodules.catalog import FACTS
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.lightning_modules import DQN, create
from recipebench.lightning_modules.dqn import Actor, bellman_targets, epsilon, next_values
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.replay_buffer import Transitions
from recipebench.seeds import seed_for

gymnasium = pytest.importorskip("gymnasium")

GAMMA = 0.8
STATES = 5


class Game:
    """States 0 ... 4 in a row, seen one-hot; a step left or right; entering 4 pays 1 and ends the episode."""

    limit: int | None = None

    def __init__(self) -> None:
        self.action_space = gymnasium.spaces.Discrete(2)
        self.state = 0
        self.steps = 0
        self.closed = False

    def reset(self, *, seed: int | None = None) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        self.state, self.steps = 0, 0
        return self.seen(), {}

    def step(self, action: int) -> tuple[np.ndarray[Any, Any], float, bool, bool, dict[str, Any]]:
        self.state = max(self.state + 2 * int(action) - 1, 0)
        self.steps += 1
        ended = self.state == STATES - 1
        return self.seen(), float(ended), ended, not ended and self.steps == self.limit, {}

    def seen(self) -> np.ndarray[Any, Any]:
        seen: np.ndarray[Any, Any] = np.eye(STATES, dtype=np.float32)[self.state]
        return seen

    def close(self) -> None:
        self.closed = True


class Wages(Game):
    """One state that pays 1 for every step, for ever; a time limit cuts episodes off after three steps."""

    limit = 3

    def step(self, action: int) -> tuple[np.ndarray[Any, Any], float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self.seen(), 1.0, False, self.steps == self.limit, {}


class Games(EnvironmentDataModule):
    """Such a game as a data module."""

    name = "game"
    facts = replace(FACTS["cartpole"], shape=(STATES,), actions=2, content="game 1")
    game: type[Game] = Game

    def make_env(self) -> Any:
        return self.game()


def games(game: type[Game], *, steps: int, **options: Any) -> Games:
    data = Games(steps_per_epoch=steps, **options)
    data.game = game
    return data


def fit(model: DQN, data: EnvironmentDataModule, *callbacks: Callback, epochs: int = 1) -> DQN:
    Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_val_batches=0,
    ).fit(model, datamodule=data)
    return model


def small(data: EnvironmentDataModule, **options: Any) -> DQN:
    given: dict[str, Any] = {
        "hidden": (8,),
        "channels": (4,),
        "learning_starts": 20,
        "epsilon_steps": 50,
        "init_seed": 0,
    }
    given |= {"actions_per_step": 1}
    return DQN(in_shape=data.facts.shape, out_features=data.out_features, **{**given, **options})


def batch_of(model: DQN, count: int = 6) -> Transitions:
    noise = torch.Generator().manual_seed(5)
    return Transitions(
        torch.randn(count, 4, generator=noise),
        torch.randint(2, (count,), generator=noise),
        torch.randn(count, generator=noise),
        torch.randn(count, 4, generator=noise),
        torch.arange(count) % 3 == 0,
    )


# Targets, losses, schedules ----------------------------------------------------------------------


def test_targets_by_hand() -> None:
    rewards = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    values = torch.tensor([10.0, 4.0, torch.inf], dtype=torch.float64)
    terminated = torch.tensor([False, False, True])

    targets = bellman_targets(rewards, terminated, values, gamma=0.25)

    assert targets.tolist() == [3.5, -1.0, 0.5]


def test_the_maximum_and_the_double_estimator() -> None:
    target = torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, -2.0]])
    online = torch.tensor([[9.0, 0.0, 9.0], [1.0, 2.0, 3.0]])

    assert next_values(target).tolist() == [3.0, 0.0]
    assert next_values(target, online).tolist() == [1.0, -2.0]  # the first of equal ones is chosen


def test_the_maximum_of_noise_is_too_large_and_the_double_estimator_is_not() -> None:
    noise = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 20_000, 2, generator=noise, dtype=torch.float64)

    assert next_values(one).mean().item() == pytest.approx(1 / np.sqrt(np.pi), abs=0.02)  # E max of two
    assert next_values(one, other).mean().item() == pytest.approx(0.0, abs=0.02)


def test_epsilon_falls_in_a_line() -> None:
    shares = [epsilon(actions, start=1.0, end=0.1, steps=9) for actions in (0, 3, 9, 10**9)]

    assert shares == pytest.approx([1.0, 0.7, 0.1, 0.1])


@pytest.mark.parametrize("double", [False, True])
def test_losses_one_by_one(double: bool) -> None:
    model = DQN(hidden=(6,), double=double, gamma=0.5, init_seed=1)
    with torch.no_grad():
        for parameter in model.target.parameters():
            parameter.mul_(1.5).add_(0.1)
    batch = batch_of(model)
    expected = []
    for s, a, r, there, terminated in zip(*batch, strict=True):
        judged = model.target(there.unsqueeze(0))[0]
        best = model.network(there.unsqueeze(0))[0].argmax() if double else judged.argmax()
        y = r if terminated else r + 0.5 * judged[best]
        error = (model.network(s.unsqueeze(0))[0, a] - y).abs()
        expected.append(error**2 / 2 if error <= 1 else error - 0.5)

    losses = model.losses(batch)

    torch.testing.assert_close(losses, torch.stack(expected))
    assert losses.min() < 0.5 < losses.max()  # both branches of the Huber loss
    losses.sum().backward()
    assert all(parameter.grad is None for parameter in model.target.parameters())


def test_the_gradient_is_the_clipped_error_of_the_action_that_was_taken() -> None:
    """A linear network on one-hot states is a table, and its gradient step is tabular Q-learning's."""
    model = DQN(in_shape=(3,), out_features=2, hidden=(), gamma=0.5, double=False, init_seed=0)
    table = model.network.get_submodule("output")
    assert isinstance(table, nn.Linear)
    with torch.no_grad():
        table.weight.copy_(torch.tensor([[0.0, 2.0, 4.0], [1.0, 3.0, -9.0]]))
        table.bias.zero_()
    model.target.load_state_dict(model.network.state_dict())
    states = torch.eye(3)
    batch = Transitions(
        states[[0, 1, 2]],
        torch.tensor([1, 0, 0]),
        torch.tensor([0.25, 1.0, 0.0]),
        states[[1, 2, 2]],
        torch.tensor([False, False, True]),
    )

    assert model.targets(batch).tolist() == [1.75, 3.0, 0.0]
    losses = model.losses(batch)
    assert losses.tolist() == [0.28125, 0.5, 3.5]
    losses.sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad.tolist() == [[0.0, -1.0, 1.0], [-0.75, 0.0, 0.0]]


# Fixed points ------------------------------------------------------------------------------------


def value_iteration() -> np.ndarray[Any, Any]:
    """Q* of the row of states, in float64."""
    values = np.zeros((STATES - 1, 2))
    for _ in range(200):
        for s in range(STATES - 1):
            for a, there in enumerate((max(s - 1, 0), s + 1)):
                ended = there == STATES - 1
                values[s, a] = 1.0 if ended else GAMMA * values[there].max()
    return values


def tabular_q_learning(steps: int) -> np.ndarray[Any, Any]:
    """Q-learning with rate 1, exact here since nothing is random but what is tried."""
    values, game, tries = np.zeros((STATES - 1, 2)), Game(), np.random.default_rng(0)
    game.reset()
    for _ in range(steps):
        s, a = game.state, int(tries.integers(2))
        _, reward, ended, _, _ = game.step(a)
        values[s, a] = reward if ended else reward + GAMMA * values[game.state].max()
        if ended:
            game.reset()
    return values


def test_the_references_agree() -> None:
    values = value_iteration()

    np.testing.assert_allclose(values[:, 1], GAMMA ** np.arange(3, -1, -1))
    np.testing.assert_allclose(tabular_q_learning(2000), values)


@pytest.mark.parametrize("double", [False, True])
def test_it_finds_the_values_of_value_iteration(double: bool) -> None:
    data = games(Game, steps=400, batch_size=32)
    model = small(
        data,
        hidden=(32,),
        gamma=GAMMA,
        double=double,
        target_every=25,
        buffer=500,
        learning_starts=300,
        epsilon_end=1.0,
        optimizer={"adam": {"lr": 0.005}},
    )

    fit(model, data)

    found = model(torch.eye(STATES)[:-1]).detach().numpy()
    np.testing.assert_allclose(found, value_iteration(), atol=0.05)
    assert model.act(torch.eye(STATES)[:-1]).tolist() == [1] * 4


def test_an_episode_that_was_cut_off_is_worth_what_would_have_come() -> None:
    """1 + gamma + gamma² + ... = 5; if the time limit ended all, it would be less than 2.5."""
    data = games(Wages, steps=400, batch_size=16)
    model = small(data, gamma=GAMMA, target_every=10, epsilon_end=1.0, optimizer={"adam": {"lr": 0.01}})

    fit(model, data)

    assert model(torch.eye(STATES)[:1]).tolist()[0] == pytest.approx([5.0, 5.0], abs=0.1)


def test_what_is_remembered_of_cut_off_and_of_ended_episodes() -> None:
    wages, row = Actor(games(Wages, steps=1), 10), Actor(games(Game, steps=1), 200)
    agent = small(games(Game, steps=1))
    for _ in range(7):
        wages.step(agent, epsilon=1.0)
    for _ in range(150):
        row.step(agent, epsilon=1.0)

    assert wages.memory.transitions.terminated.sum() == 0
    ends = row.memory.transitions
    assert torch.equal(ends.terminated, ends.next_observations[:, -1] == 1)
    assert ends.terminated.sum() > 0
    begun = ends.observations[1:150][ends.terminated[:149]]
    assert (begun[:, 0] == 1).all()  # the next step begins a new episode


# Training ----------------------------------------------------------------------------------------


class Watcher(Callback):
    """Keeps both networks' weights as they were in every step."""

    def __init__(self) -> None:
        self.networks: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.actions: list[int] = []
        self.outputs: list[dict[str, Tensor]] = []
        self.games: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.networks.append(flat(pl_module.network))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.targets.append(flat(pl_module.target))
        self.actions.append(pl_module._actor.actions)
        self.outputs.append(outputs)
        self.games.append(pl_module._actor.env)


def flat(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()]).clone()


def test_the_target_network_is_renewed_every_so_many_steps() -> None:
    data, seen = games(Game, steps=10, batch_size=4), Watcher()

    fit(small(data, target_every=4, actions_per_step=3), data, seen)

    assert len(seen.networks) == 10
    assert all(torch.equal(seen.targets[k], seen.networks[k // 4 * 4]) for k in range(10))
    assert not any(torch.equal(seen.networks[k], seen.networks[k + 1]) for k in range(9))


def test_every_step_has_losses_and_as_many_actions_as_asked_for() -> None:
    data, seen = games(Game, steps=6, batch_size=4), Watcher()

    fit(small(data, learning_starts=20, actions_per_step=3), data, seen)

    assert seen.actions == [23, 26, 29, 32, 35, 38]
    for outputs in seen.outputs:
        assert outputs["losses"].shape == (4,)
        assert not outputs["losses"].requires_grad
        assert outputs["loss"].item() == outputs["losses"].mean().item()
        assert outputs["penalty"].item() == 0.0
    assert seen.games[0].closed
    assert len(set(map(id, seen.games))) == 1


def test_only_the_network_is_trained() -> None:
    data = games(Game, steps=3, batch_size=4)
    model = small(data)

    fit(model, data)

    trained = [p for group in model.trainer.optimizers[0].param_groups for p in group["params"]]
    assert [id(p) for p in trained] == [id(p) for p in model.network.parameters()]
    assert [p.requires_grad for p in model.parameters()].count(True) == len(trained)
    assert {name.split(".")[0] for name in model.state_dict()} == {"network", "target"}


def test_the_schedule_sets_the_rate() -> None:
    data = games(Game, steps=3, batch_size=4)
    model = small(data, optimizer={"sgd": {"lr": 0.5}}, schedule={"exponential": {"gamma": 0.5}})
    rates: list[float | None] = [model.learning_rate()]

    class Rates(Callback):
        def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
            rates.extend(pl_module.learning_rates())

    fit(model, data, Rates(), epochs=3)

    assert rates == [0.5, 0.25, 0.125, 0.0625]


@pytest.mark.parametrize("kind", [CartPole, Catch])
def test_two_runs_give_equal_bits_and_leave_torch_s_generator_alone(kind: Callable[..., Any]) -> None:
    def run(global_seed: int, seed: int) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        data = kind(steps_per_epoch=30, batch_size=8, validation=5, seed=seed)
        model = small(data, init_seed=seed_for("init", data.key, seed))
        track = Track(model, data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(global_seed)
            before = torch.get_rng_state()
            fit(model, data, Recorder([track], splits=("train", "validation")), epochs=2)
            assert torch.equal(torch.get_rng_state(), before)
        return model.state_dict(), [{**row, "seconds": 0.0} for row in track.history]

    (state, history), (again, history_again), (other, _) = run(1, 0), run(2, 0), run(1, 1)

    assert history == history_again
    assert len(history) == 3
    assert history[1].keys() >= {"fit_loss", "validation_loss", "validation_mean_return", "lr"}
    assert all(torch.equal(state[name], again[name]) for name in state)
    assert not torch.equal(state["network.output.weight"], other["network.output.weight"])


def test_agents_share_the_chance_in_what_they_try() -> None:
    data = Catch(seed=1)
    one, other = Actor(data, 100), Actor(data, 100)
    agents = [small(data, init_seed=seed) for seed in (0, 1)]
    for _ in range(60):
        one.step(agents[0], epsilon=0.5)
        other.step(agents[1], epsilon=1.0)

    tried, drawn = one.memory.transitions.actions[:60], other.memory.transitions.actions[:60]
    assert 0.5 <= (tried == drawn).double().mean().item() < 1.0  # where one explores, it does the same


def test_it_learns_to_catch() -> None:
    data = Catch(steps_per_epoch=900, batch_size=32)
    model = small(
        data,
        hidden=(64,),
        channels=(8,),
        learning_starts=300,
        actions_per_step=2,
        target_every=50,
        epsilon_steps=1000,
        optimizer={"adam": {"lr": 3e-3}},
    )
    untrained = model.score(data, "test")["mean_return"]

    fit(model, data)

    assert untrained < 0.5
    assert model.score(data, "test") == {"loss": -1.0, "mean_return": 1.0}


@pytest.mark.skipif("RECIPEBENCH_SLOW" not in os.environ, reason="minutes; set RECIPEBENCH_SLOW to run it")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_solves_the_cart_pole(seed: int) -> None:
    """At the epoch with the best validation episodes, a mean of 475 over 100 other episodes."""
    data = CartPole(seed=seed)
    model = DQN(init_seed=seed_for("init", data.key, seed))
    track = Track(model, data)  # type: ignore[arg-type]

    fit(model, data, Recorder([track]), epochs=100)

    assert track.history[track.best_epoch]["test_mean_return"] >= 475


# Scores, recipes, refusals -----------------------------------------------------------------------


def test_scores_are_those_of_the_greedy_policy() -> None:
    data = Catch(validation=30)
    model = small(data)
    asked: list[Tensor] = []

    def policy(observations: Tensor) -> Tensor:
        asked.append(observations)
        actions: Tensor = model(observations).argmax(1)
        return actions

    mean = data.returns(policy, "validation").mean().item()

    assert model.score(data, "validation") == {"loss": -mean, "mean_return": mean}
    assert [tuple(observations.shape) for observations in asked] == [(30, 1, 10, 5)] * 9


def test_lightning_validates_and_tests() -> None:
    data = Catch(validation=10)
    model = small(data)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", enable_checkpointing=False, **quiet)

    (validated,) = trainer.validate(model, datamodule=data, verbose=False)
    (tested,) = trainer.test(model, datamodule=data, verbose=False)

    for split, logged in (("validation", validated), ("test", tested)):
        expected = {f"{split}_{name}": value for name, value in model.score(data, split).items()}
        assert logged == pytest.approx(expected)


@pytest.mark.parametrize("activation", ["tanh", {"maxout": {"pieces": 3}}])
@pytest.mark.parametrize("shape", [(4,), (1, 10, 5)])
def test_create_builds_it_for_states_and_for_pixels(shape: tuple[int, ...], activation: Any) -> None:
    from recipebench.lightning_modules.catalog import ACTIVATIONS, INITIALIZERS, OPTIMIZERS

    level = MODELS.choose({"dqn": {"hidden": [7], "channels": [3]}})
    recipe = {
        "activation": ACTIVATIONS.choose(activation),
        "initializer": INITIALIZERS.choose("xavier"),
        "optimizer": OPTIMIZERS.choose({"sgd": {"lr": 0.5}}),
        "regularizer": None,
    }
    model: Any = create(level, task="control", in_shape=shape, out_features=3, init_seed=3, **recipe)
    again: Any = create(level, task="control", in_shape=shape, out_features=3, init_seed=3, **recipe)

    assert model(torch.zeros(2, *shape)).shape == (2, 3)
    assert torch.equal(flat(model.network), flat(again.network))
    assert torch.equal(flat(model.network), flat(model.target))
    assert any(isinstance(layer, nn.Conv2d) for layer in model.network) == (len(shape) == 3)
    assert (model.initializer.name, model.learning_rate(), model.task) == ("xavier", 0.5, "control")


def test_the_defaults_are_those_of_the_catalog() -> None:
    assert DQN().options == MODELS.choose("dqn").parameters


@pytest.mark.parametrize("place", ["network", "target"])
def test_finite_looks_at_all_weights(place: str) -> None:
    model = DQN(init_seed=0)
    assert model.finite().tolist() == [True]
    with torch.no_grad():
        next(getattr(model, place).parameters()).view(-1)[3] = torch.nan

    assert model.finite().tolist() == [False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.5}, "gamma: expected a number between 0 and 1, got 1.5"),
        ({"buffer": 0}, "buffer: expected a whole number between 1 and"),
        ({"hidden": [0]}, "hidden: expected a list of positive whole numbers"),
        ({"optimizer": "adm"}, r"Unknown optimizer 'adm'\. .* Did you mean 'adam'"),
        ({"activation": "rleu"}, r"Unknown activation 'rleu'\. .* Did you mean 'relu'"),
    ],
)
def test_bad_requests_are_named(options: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        DQN(**options)


def test_it_cannot_be_fitted_to_samples() -> None:
    from recipebench.datamodules import Digits

    with pytest.raises(RequestError, match=r"dqn: expected an environment, .* got Digits"):
        fit(DQN(), Digits())  # type: ignore[arg-type]


def test_catalog_names_what_it_responds_to() -> None:
    level = MODELS["dqn"]

    assert level.tasks == ("control",)
    assert getattr(level, "factors", ()) == ("activation", "initializer", "optimizer", "schedule")
    assert MODELS.choose("dqn") == Choice("dqn", DQN().options)
