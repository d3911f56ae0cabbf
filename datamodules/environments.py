"""Environments that an agent learns to control: gymnasium's cart pole from its state, Catch from pixels.

They need gymnasium, which is imported only when an environment is made.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch
from torch import Tensor

from recipebench.datamodules.catalog import (
    DATA,
    FACTS,
    check_validation,
    validation_count,
)
from recipebench.datamodules.draws import generator
from recipebench.datamodules.options import (
    Options,
    refuse_changes_of_samples,
    whole,
)
from recipebench.datamodules.recorded import RecordedDataModule
from recipebench.errors import RequestError, unknown
from recipebench.levels import Value
from recipebench.seeds import seed_for

if TYPE_CHECKING:
    import gymnasium

Policy = Callable[[Tensor], Tensor]
"""From observations (episodes, *shape) float32 to the actions taken there, (episodes,) int64."""

SPLITS = ("train", "validation", "test")
"""Episodes that begin from different streams; none of them is one that an agent learns from."""


class ReplayDraws:
    """A loader for agents: one item a training step, the uniform numbers that choose what is replayed.

    An ordinary iterable that Lightning takes for a `DataLoader`. What an agent has seen is its own
    affair; the chance in what it sees again is named here, so compared agents share it.

    Args:
        steps: training steps an epoch.
        batch_size: transitions a step.
        noise: from an epoch, counted from 1, to the generator of its draws.

    Attributes:
        sampler: what Lightning tells the epoch: the loader itself.
    """

    batch_sampler = None  # Lightning asks loaders with a sampler for it

    def __init__(self, steps: int, batch_size: int, noise: Callable[[int], torch.Generator]) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.noise = noise
        self.epoch = 0
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose draws the next iteration gives."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Tensor]:
        """Yield (batch_size,) float64 in [0, 1), `steps` times."""
        noise = self.noise(self.epoch + 1)
        for _ in range(self.steps):
            yield torch.rand(self.batch_size, generator=noise, dtype=torch.float64)


class WholeSplit:
    """A loader of a single empty batch: the agent plays the whole split in one step."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Tensor]:
        yield torch.zeros(0)


class EnvironmentDataModule(RecordedDataModule):
    """An environment with gymnasium's interface, as a Lightning data module.

    An epoch is a block of `steps_per_epoch` training steps; the agent acts in a `make_env()` of its own
    meanwhile. Scores come from whole episodes: of `facts.train` starts, `validation` many (a count, or
    a share) are played for validation, as many for train, and `facts.test` for test, each split from a
    stream of its own. Streams depend on the environment, its parameters and `seed` only.

    Args:
        parameters: the environment's own parameters in canonical form, all of them.
        steps_per_epoch: training steps an epoch.
        batch_size: transitions that are replayed in a training step.
        validation: episodes (int), or their share of `facts.train` (float).
        seed: names the streams of environments and replay.
        train_samples, label_noise, inputs, last_batch, sampling, augmentation: as of the other data
            sets, which have samples. What would change samples is refused. Batches are always full and
            drawn with replacement, whatever `last_batch` and `sampling` say.

    Attributes:
        name: as in suites and records.
        facts: what is known of the environment.
        needs_files: False.
        choice: name and parameters.
        key: name and parameters as one string, the address of its random streams.

    Raises:
        RequestError: an option has the wrong type or value, or has no meaning here.
    """

    def __init__(
        self,
        parameters: Mapping[str, Value] | None = None,
        *,
        steps_per_epoch: int = 500,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            parameters or {}, batch_size=options.get("batch_size", 128), seed=options.get("seed", 0)
        )
        self.steps_per_epoch = whole("steps_per_epoch", steps_per_epoch, minimum=1)
        self.validation_size = options.get("validation", 0.1)
        check_validation(self.validation_size, self.name)
        refuse_changes_of_samples(options, self.facts, self.name, "an environment")

    @abstractmethod
    def make_env(self) -> gymnasium.Env[Any, Any]:
        """Return a new environment: float32 observations of `facts.shape`, `facts.actions` actions."""

    def make_envs(self, count: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        """Return `count` environments that take a step together."""
        return require_gymnasium().vector.SyncVectorEnv([self.make_env] * count)  # type: ignore[no-any-return]

    def prepare_data(self) -> None:
        """Do nothing but ask for gymnasium.

        Raises:
            RequestError: gymnasium is not installed.
        """
        require_gymnasium()

    def setup(self, stage: str | None = None) -> None:
        """Ask for gymnasium, and for a number of episodes that can be played.

        Args:
            stage: Lightning's name for what follows; nothing depends on it.

        Raises:
            RequestError: gymnasium is not installed, or `validation` does not fit.
        """
        require_gymnasium()
        self.episodes("validation")

    def episodes(self, split: str) -> int:
        """Return how many episodes are played to score a split.

        Raises:
            RequestError: there is no such split, or `validation` does not fit.
        """
        if split not in SPLITS:
            raise RequestError(f"{self.name}: {unknown('split', split, SPLITS)}")
        if split == "test":
            return self.facts.test
        return validation_count(self.validation_size, self.facts.train, self.name)

    @torch.no_grad()
    def returns(self, policy: Policy, split: str) -> Tensor:
        """Play the episodes of a split, all at once, and return what each of them paid.

        Args:
            policy: from observations to actions; see `Policy`. Asked for finished episodes too, whose
                actions play no part.
            split: `train`, `validation` or `test`.

        Returns:
            (episodes,) float64: sums of rewards, not discounted.

        Raises:
            RequestError: there is no such split.
        """
        count = self.episodes(split)
        envs = self.make_envs(count)
        observations, _ = envs.reset(seed=seed_for("episodes", self.key, self.seed, split))
        total = np.zeros(count)
        running = np.ones(count, dtype=bool)
        while running.any():
            actions = policy(torch.from_numpy(observations)).cpu().numpy()
            observations, rewards, terminated, truncated, _ = envs.step(actions)
            total += np.where(running, rewards, 0.0)
            running &= ~(terminated | truncated)
        envs.close()
        return torch.from_numpy(total)

    def train_dataloader(self) -> ReplayDraws:
        """Return what chooses the transitions of each training step, new every epoch."""
        return ReplayDraws(self.steps_per_epoch, self.batch_size, self._replay_noise)

    def val_dataloader(self) -> WholeSplit:
        """Return one empty batch: an agent plays the validation episodes in one step."""
        return WholeSplit()

    def test_dataloader(self) -> WholeSplit:
        """Return one empty batch: an agent plays the test episodes in one step."""
        return WholeSplit()

    def _replay_noise(self, epoch: int) -> torch.Generator:
        return generator("replay", self.key, self.seed, epoch)


class CartPole(EnvironmentDataModule):
    """Balance a pole on a cart: gymnasium's CartPole-v1, seen by its state.

    Observations (4,) float32: position, velocity, angle, angular velocity. Actions: 0 pushes left,
    1 right. Each step pays 1, the last one too, until the pole leans by more than 12 degrees or the
    cart leaves the track (terminated), or after 500 steps (truncated): the best return is 500. It
    counts as solved from a mean of 475 over 100 episodes.

    Args:
        steps_per_epoch: training steps an epoch.
        **options: see `EnvironmentDataModule`.

    Raises:
        RequestError: an option has the wrong type or value, or has no meaning here.

    References:
        Barto, Sutton and Anderson, Neuronlike Adaptive Elements That Can Solve Difficult Learning
        Control Problems, 1983; Towers et al., Gymnasium, arXiv:2407.17032, 2024.
    """

    name = "cartpole"
    facts = FACTS["cartpole"]

    def __init__(self, *, steps_per_epoch: int = 500, **options: Unpack[Options]) -> None:
        chosen = DATA.choose({self.name: {"steps_per_epoch": steps_per_epoch}})
        super().__init__(chosen.parameters, steps_per_epoch=steps_per_epoch, **options)

    def make_env(self) -> gymnasium.Env[Any, Any]:
        """Return gymnasium's CartPole-v1, its time limit of 500 steps included."""
        return require_gymnasium().make("CartPole-v1", disable_env_checker=True)  # type: ignore[no-any-return]

    def make_envs(self, count: int) -> gymnasium.vector.VectorEnv[Any, Any, Any]:
        """Return gymnasium's own form of CartPole-v1 that computes all environments in one go."""
        mode = "vector_entry_point"
        return require_gymnasium().make_vec("CartPole-v1", count, vectorization_mode=mode)  # type: ignore[no-any-return]


class Catch(EnvironmentDataModule):
    """Catch a falling ball, seen by pixels; see `recipebench.datamodules.catch.CatchEnv`.

    Observations (1, 10, 5) float32, 1 where the ball and the paddle are. Actions: left, stay, right.
    An episode has nine steps; the last pays 1 for a ball that was caught, -1 for one that was not.

    Args:
        steps_per_epoch: training steps an epoch.
        **options: see `EnvironmentDataModule`.

    Raises:
        RequestError: an option has the wrong type or value, or has no meaning here.

    References:
        Osband et al., Behaviour Suite for Reinforcement Learning, ICLR 2020.
    """

    name = "catch"
    facts = FACTS["catch"]

    def __init__(self, *, steps_per_epoch: int = 500, **options: Unpack[Options]) -> None:
        chosen = DATA.choose({self.name: {"steps_per_epoch": steps_per_epoch}})
        super().__init__(chosen.parameters, steps_per_epoch=steps_per_epoch, **options)

    def make_env(self) -> gymnasium.Env[Any, Any]:
        """Return a new game."""
        require_gymnasium()
        from recipebench.datamodules.catch import CatchEnv

        return CatchEnv()


def require_gymnasium() -> ModuleType:
    """Return gymnasium.

    Raises:
        RequestError: it is not installed; the message says how to install it.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise RequestError(
            f"Environments need gymnasium, which cannot be imported ({error}): pip install recipebench[rl]"
        ) from error
    return gymnasium
