"""Environments: gymnasium's own checks, its single cart pole as reference, games worked by hand, streams."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recipebench.datamodules import CartPole, Catch, EnvironmentDataModule, create
from recipebench.datamodules.catalog import DATA, FACTS, data_sha256, split_sizes
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.seeds import seed_for

gymnasium = pytest.importorskip("gymnasium")

KINDS = [CartPole, Catch]


def balance(observations: Tensor) -> Tensor:
    """A linear controller that keeps the pole up for as long as it may."""
    gains = torch.tensor([0.1, 0.3, 1.0, 1.0])
    return (observations @ gains > 0).long()


def lean(observations: Tensor) -> Tensor:
    """Push to where the pole leans: it falls after 30 to 60 steps."""
    return (observations[:, 2] > 0).long()


def follow(observations: Tensor) -> Tensor:
    """Move the paddle under the ball, as seen in the picture."""
    ball = observations[:, 0, :-1].sum(1).argmax(1)
    paddle = observations[:, 0, -1].argmax(1)
    return (ball - paddle).sign() + 1


def stay(observations: Tensor) -> Tensor:
    return torch.ones(len(observations), dtype=torch.int64)


def starts(data: EnvironmentDataModule, split: str) -> np.ndarray[Any, Any]:
    envs = data.make_envs(data.episodes(split))
    seen, _ = envs.reset(seed=seed_for("episodes", data.key, data.seed, split))
    return np.array(seen)


# The game of Catch -------------------------------------------------------------------------------


def test_catch_passes_the_checks_of_gymnasium() -> None:
    from gymnasium.utils.env_checker import check_env

    from recipebench.datamodules.catch import CatchEnv

    env = CatchEnv(render_mode="ansi")
    env.spec = gymnasium.envs.registration.EnvSpec("Catch-v0", entry_point=CatchEnv)

    check_env(env)


def test_a_game_by_hand() -> None:
    from recipebench.datamodules.catch import CatchEnv

    env = CatchEnv(render_mode="ansi")
    env.reset(seed=0)
    env.ball = (0, 4)
    rewards = [env.step(np.int64(action))[1:4] for action in (2, 2, 2, 0, 2, 1, 1, 1)]

    assert rewards == [(0.0, False, False)] * 8
    assert env.render() == "\n".join([*["....."] * 8, "....o", "....o"])
    seen, *paid, _ = env.step(np.int64(1))
    assert paid == [1.0, True, False]
    assert seen.sum() == 1.0  # the ball is where the paddle is
    assert seen[0, 9, 4] == 1.0


def test_the_paddle_stays_in_the_picture_and_a_missed_ball_costs_one() -> None:
    from recipebench.datamodules.catch import CatchEnv

    env = CatchEnv()
    env.reset(seed=0)
    env.ball = (0, 1)
    steps = [env.step(np.int64(0)) for _ in range(9)]

    assert [step[0][0, 9, :2].tolist() for step in steps[:3]] == [[0, 1], [1, 0], [1, 0]]
    assert [step[1] for step in steps] == [0.0] * 8 + [-1.0]
    assert [step[2] for step in steps] == [False] * 8 + [True]
    assert env.render() is None


def test_following_the_ball_is_optimal_and_staying_catches_what_falls_in_the_middle() -> None:
    data = Catch(seed=3)
    balls = starts(data, "test")[:, 0, 0].argmax(1)

    assert data.returns(follow, "test").tolist() == [1.0] * 100
    assert data.returns(stay, "test").tolist() == [1.0 if ball == 2 else -1.0 for ball in balls]
    assert set(balls) == {0, 1, 2, 3, 4}


# The cart pole -----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [lean, stay])
def test_episodes_played_at_once_pay_what_single_ones_pay(policy: Any) -> None:
    data = CartPole(seed=1, validation=12)
    envs = data.make_envs(12)
    envs.reset(seed=seed_for("episodes", data.key, data.seed, "validation"))
    single = data.make_env()
    expected = []
    for state in envs.state.T.copy():  # type: ignore[attr-defined]
        single.reset()
        single.unwrapped.state = state  # type: ignore[attr-defined]
        seen, total, ended = state.astype(np.float32), 0.0, False
        while not ended:
            action = policy(torch.from_numpy(seen).unsqueeze(0)).item()
            seen, reward, terminated, truncated, _ = single.step(action)
            total, ended = total + float(reward), terminated or truncated
        expected.append(total)

    actual = data.returns(policy, "validation")

    assert actual.dtype == torch.float64
    assert actual.tolist() == expected
    assert 5 < min(expected) <= max(expected) < 500


def test_a_pole_that_does_not_fall_pays_500() -> None:
    assert CartPole(seed=2).returns(balance, "test").tolist() == [500.0] * 100


def test_the_cart_pole_is_the_version_of_the_facts() -> None:
    env = CartPole().make_env()

    assert env.spec is not None
    assert f"gymnasium {env.spec.id}" == FACTS["cartpole"].content
    assert (env.spec.max_episode_steps, env.spec.reward_threshold) == (500, 475.0)


# The data modules --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_environments_are_as_the_facts_say(kind: type[CartPole | Catch]) -> None:
    data = kind()
    data.setup("fit")
    env = data.make_env()
    seen, _ = env.reset(seed=0)

    assert env.observation_space.shape == data.facts.shape == seen.shape
    assert seen.dtype == np.float32
    assert env.action_space == gymnasium.spaces.Discrete(data.out_features)
    assert data.out_features == data.facts.actions == data.facts.out_features
    assert data.in_features == seen.size
    assert data.task == "control"
    assert DATA[data.name].tasks == ("control",)


@pytest.mark.parametrize("kind", KINDS)
def test_choices_keys_and_contents(kind: type[CartPole | Catch]) -> None:
    data: Any = create(Choice(kind.name, {"steps_per_epoch": 20}), seed=4, batch_size=8)

    assert type(data) is kind
    assert data.choice == Choice(kind.name, {"steps_per_epoch": 20})
    assert data.key == f'{kind.name}{{"steps_per_epoch":20}}'
    assert repr(data) == str(data) == f"{kind.__name__}({data.key}, seed=4)"
    assert (len(data.train_dataloader()), data.batch_size) == (20, 8)
    assert data_sha256(data.choice) != data_sha256(Choice(kind.name, {}))


def test_the_contents_differ() -> None:
    assert data_sha256(Choice("cartpole", {})) != data_sha256(Choice("catch", {}))


def test_episodes_are_counted_as_samples_are() -> None:
    for validation in (0.1, 0.02, 7):
        sizes = split_sizes(Choice("catch", {}), validation)
        data = Catch(validation=validation)

        assert data.episodes("validation") == data.episodes("train") == sizes.validation
        assert data.episodes("test") == sizes.test == 100


def test_splits_and_seeds_begin_differently_and_repeatably() -> None:
    beginnings = {
        (seed, split): starts(CartPole(seed=seed), split).tobytes()
        for seed, split in itertools.product((0, 1), ("train", "validation", "test"))
    }

    assert len(set(beginnings.values())) == 6
    assert beginnings[1, "test"] == starts(CartPole(seed=1, validation=5), "test").tobytes()


def test_draws_are_named_by_seed_and_epoch() -> None:
    data = Catch(steps_per_epoch=3, batch_size=5, seed=2)
    loader = data.train_dataloader()

    first, again = list(loader), list(loader)
    loader.sampler.set_epoch(1)
    second = list(loader)

    assert len(loader) == len(first) == 3
    assert all(draws.shape == (5,) and draws.dtype == torch.float64 for draws in first)
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert torch.stack([*first, *second]).unique().numel() == 30
    assert not torch.equal(
        first[0], next(iter(Catch(steps_per_epoch=3, batch_size=5, seed=3).train_dataloader()))
    )
    assert torch.rand(1000, generator=data._replay_noise(1)).aminmax().max < 1.0


def test_draws_differ_between_epochs_of_a_fit() -> None:
    from pytorch_lightning import LightningModule, Trainer

    class Listener(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            self.heard: list[Tensor] = []

        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            self.heard.append(batch.clone())
            return self.weight.square()

        def validation_step(self, batch: Tensor, batch_idx: int) -> None:
            raise AssertionError

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    listener, data = Listener(), Catch(steps_per_epoch=2, batch_size=3)
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "limit_val_batches": 0}
    Trainer(max_epochs=2, accelerator="cpu", **quiet).fit(listener, datamodule=data)

    loader = data.train_dataloader()
    expected = list(loader)
    loader.set_epoch(1)
    assert torch.equal(torch.stack(listener.heard), torch.stack([*expected, *loader]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps_per_epoch": 0}, "steps_per_epoch: expected a whole number between 1 and"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1, got 0"),
        ({"validation": 0.0}, "expected a count of at least 1 or a fraction strictly between"),
        ({"inputs": "standardized"}, "inputs: expected unit, because an environment has no samples"),
        ({"train_samples": 10}, "train_samples: expected None, because an environment has no samples"),
        ({"label_noise": 0.1}, "label_noise: expected 0, because it replaces classes"),
        ({"augmentation": "flip"}, "augmentation: expected none, because .* got 'flip'"),
        ({"last_batch": "kep"}, "Unknown last_batch 'kep'. .* Did you mean 'keep'"),
        ({"sampling": "shufled"}, "Did you mean 'shuffled'"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_options_without_meaning_are_refused(kind: Any, options: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        kind(**options)


def test_a_split_or_a_validation_that_does_not_fit() -> None:
    with pytest.raises(RequestError, match=r"Unknown split 'tset'\. .* Did you mean 'test'"):
        Catch().returns(stay, "tset")
    with pytest.raises(RequestError, match="catch: validation: expected 1 to 999 of the 1000"):
        Catch(validation=1000).setup("fit")


@pytest.mark.parametrize("kind", KINDS)
def test_without_gymnasium_the_message_says_what_to_install(
    kind: type[CartPole | Catch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    data = kind()

    for ask in (data.prepare_data, data.setup, data.make_env, lambda: data.returns(stay, "test")):
        with pytest.raises(RequestError, match=r"pip install recipebench\[rl\]"):
            ask()
