"""Deep Q-network: the optimal action-value function by a network, from replayed steps of the agent itself.

Source: Mnih et al., Human-Level Control through Deep Reinforcement Learning, Nature 518, 2015. Departures:
two small 3x3 convolutions in place of three large ones, none for observations that are no images; stock
optimizers; van Hasselt's double estimator as an option.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipebench.errors import RequestError
from recipebench.levels import Choice, Value
from recipebench.lightning_modules import cnn, mlp
from recipebench.lightning_modules.catalog import ACTIVATIONS, INITIALIZERS, OPTIMIZERS, SCHEDULES
from recipebench.lightning_modules.initializers import initialize_network
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.lightning_modules.recorded import SteppedModule
from recipebench.lightning_modules.replay_buffer import ReplayBuffer, Transitions
from recipebench.lightning_modules.supervised import Spec
from recipebench.seeds import seed_for

if TYPE_CHECKING:
    from recipebench.datamodules.environments import EnvironmentDataModule


def bellman_targets(rewards: Tensor, terminated: Tensor, next_values: Tensor, *, gamma: float) -> Tensor:
    """y = r + gamma v(s'), and y = r where the episode has terminated: nothing follows.

    An episode that a time limit cut off has not terminated: its last state has a value as any other.

    Args:
        rewards: (batch,) float.
        terminated: (batch,) bool.
        next_values: (batch,) v(s'), whatever it is where an episode has terminated.
        gamma: discount, in [0, 1].

    Returns:
        (batch,) like `rewards`.

    Example:
        >>> ended = torch.tensor([False, True])
        >>> bellman_targets(torch.ones(2), ended, torch.tensor([10.0, 10.0]), gamma=0.5)
        tensor([6., 1.])

    References:
        Mnih et al. 2015, algorithm 1; Pardo et al., Time Limits in Reinforcement Learning, ICML 2018.
    """
    return rewards + gamma * next_values.masked_fill(terminated, 0.0)


def next_values(target_values: Tensor, online_values: Tensor | None = None) -> Tensor:
    """v(s') = max_a Q^-(s', a), or Q^-(s', argmax_a Q(s', a)) where another network chooses the action.

    The maximum of noisy estimates is too large on average; with one network to choose and another to
    judge it is less so.

    Args:
        target_values: (batch, actions) Q^-(s', .) of the target network.
        online_values: (batch, actions) Q(s', .) of the network that is trained; None for the maximum.

    Returns:
        (batch,).

    Example:
        >>> target, online = torch.tensor([[1.0, 3.0]]), torch.tensor([[5.0, 4.0]])
        >>> next_values(target), next_values(target, online)
        (tensor([3.]), tensor([1.]))

    References:
        Mnih et al. 2015; van Hasselt, Guez and Silver, Deep Reinforcement Learning with Double
        Q-Learning, AAAI 2016.
    """
    if online_values is None:
        return target_values.amax(1)
    return target_values.gather(1, online_values.argmax(1, keepdim=True)).squeeze(1)


def epsilon(actions: int, *, start: float, end: float, steps: int) -> float:
    """Return the share of random actions: from `start` to `end` in a line, then constant.

    Args:
        actions: taken so far.
        start: share at first.
        end: share after `steps` actions, and from there on.
        steps: actions until then.

    Example:
        >>> [epsilon(actions, start=1.0, end=0.5, steps=10) for actions in (0, 5, 10, 20)]
        [1.0, 0.75, 0.5, 0.5]

    References:
        Mnih et al. 2015 (from 1 to 0.1 over the first million frames).
    """
    return end + (start - end) * max(0.0, 1.0 - actions / steps)


class DQN(SteppedModule):
    """An agent that learns the optimal action-values of an environment and acts by the largest.

    Q(s, a) is the discounted sum of rewards from s on if a is done first and the best later. A training
    step acts `actions_per_step` times, epsilon-greedily, remembers what came of it, and takes one
    gradient step on transitions (s, a, r, s') that are drawn from the memory:

        y = r + gamma max_a' Q^-(s', a')   (y = r if s' is terminal)
        loss = mean Huber(Q(s, a) - y),    Huber(d) = d² / 2 for |d| <= 1, else |d| - 1/2

    Q^- is a copy of Q that is renewed every `target_every` gradient steps. Before the first one the
    memory is filled with `learning_starts` transitions of random actions, so every step has a loss.

    Train it with `Trainer.fit(model, datamodule=data)`, data an `EnvironmentDataModule`. Environment,
    exploration and replay have named streams of the data module: two runs give equal bits. The memory
    is no part of a checkpoint; a fit that is taken up again fills it anew.

    Args:
        in_shape: of one observation: (features,), or (channels, height, width) for images.
        out_features: actions.
        hidden: units of each hidden linear layer.
        channels: filters of each 3x3 convolution before them, where observations are images.
        gamma: discount; 0.97 looks about 30 actions ahead.
        buffer: transitions that are remembered.
        learning_starts: transitions of random actions before the first step.
        actions_per_step: actions between two gradient steps.
        target_every: gradient steps between two renewals of the target network.
        double: whether the network that is trained chooses a', and the target network judges it.
        epsilon_start: share of random actions at first.
        epsilon_end: share of random actions in the end.
        epsilon_steps: actions over which the share falls, in a line.
        activation: a level of the catalog.
        initializer: how linear layers and convolutions start; a level of the catalog.
        optimizer: a level of the catalog.
        schedule: a level of the catalog.
        init_seed: names the streams of the initial draws; None draws one from torch's global generator.

    Shape:
        (batch, *in_shape) float32 to (batch, actions), the action-values.

    Raises:
        RequestError: a level or a hyper-parameter is wrong.

    Example:
        >>> model = DQN(in_shape=(4,), out_features=2, init_seed=0)
        >>> tuple(model(torch.zeros(3, 4)).shape), model.act(torch.zeros(3, 4)).shape
        ((3, 2), torch.Size([3]))

    References:
        Watkins and Dayan, Q-Learning, 1992; Mnih et al., Nature 518, 2015.
    """

    task = "control"

    def __init__(
        self,
        *,
        in_shape: Sequence[int] = (4,),
        out_features: int = 2,
        hidden: Sequence[int] = (128, 128),
        channels: Sequence[int] = (16, 32),
        gamma: float = 0.97,
        buffer: int = 200_000,
        learning_starts: int = 1000,
        actions_per_step: int = 4,
        target_every: int = 100,
        double: bool = True,
        epsilon_start: float = 1.0,
        epsilon_end: float = 0.05,
        epsilon_steps: int = 40_000,
        activation: Spec = "relu",
        initializer: Spec = "he",
        optimizer: Spec = "adam",
        schedule: Spec = "constant",
        init_seed: int | None = None,
    ) -> None:
        super().__init__()
        given = {
            "hidden": hidden,
            "channels": channels,
            "gamma": gamma,
            "buffer": buffer,
            "learning_starts": learning_starts,
            "actions_per_step": actions_per_step,
            "target_every": target_every,
            "double": double,
            "epsilon_start": epsilon_start,
            "epsilon_end": epsilon_end,
            "epsilon_steps": epsilon_steps,
        }
        self.options: dict[str, Any] = dict(MODELS.choose({"dqn": given}).parameters)
        self.initializer = INITIALIZERS.choose(initializer)
        self.optimizer = OPTIMIZERS.choose(optimizer)
        self.schedule = SCHEDULES.choose(schedule)
        self.network = build_network(
            in_shape,
            self.options["channels"],
            self.options["hidden"],
            out_features,
            ACTIVATIONS.choose(activation),
        )
        seed = int(torch.randint(2**62, ())) if init_seed is None else init_seed
        initialize_network(self.network, self.initializer, seed)
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self._actor: Actor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the action-values of observations: (batch, actions)."""
        values: Tensor = self.network(x)
        return values

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """Return the actions of largest value, the first on ties: (batch,) int64."""
        actions: Tensor = self(observations.to(self.device)).argmax(1)
        return actions

    def losses(self, transitions: Transitions) -> Tensor:
        """Return Huber(Q(s, a) - y) of every transition, (batch,) float32; no gradient flows through y."""
        values = self(transitions.observations).gather(1, transitions.actions.unsqueeze(1)).squeeze(1)
        return F.huber_loss(values, self.targets(transitions), reduction="none")

    @torch.no_grad()
    def count_parameters(self) -> int:
        """Count the numbers that are learned: those of Q, not of its copy."""
        return sum(p.numel() for p in self.network.parameters())

    def targets(self, transitions: Transitions) -> Tensor:
        """Return y of every transition, (batch,) float32; see `bellman_targets`."""
        judged = self.target(transitions.next_observations)
        chosen = self(transitions.next_observations) if self.options["double"] else None
        return bellman_targets(
            transitions.rewards,
            transitions.terminated,
            next_values(judged, chosen),
            gamma=self.options["gamma"],
        )

    def on_train_start(self) -> None:
        """Enter the environment and fill the memory with random actions.

        Raises:
            RequestError: the module is fitted without an environment.
        """
        self._actor = Actor(self._environment(), self.options["buffer"])
        for _ in range(self.options["learning_starts"]):
            self._actor.step(self, epsilon=1.0)

    def training_step(self, batch: Tensor, batch_idx: int) -> dict[str, Tensor]:
        """Act, then return the mean loss of transitions from memory, and for the record their losses.

        Args:
            batch: (batch,) float64 in [0, 1), what chooses the transitions; see `ReplayBuffer.sample`.
            batch_idx: not used.
        """
        assert self._actor is not None
        if self.global_step % self.options["target_every"] == 0:
            self.target.load_state_dict(self.network.state_dict())
        for _ in range(self.options["actions_per_step"]):
            self._actor.step(self, epsilon=self._epsilon(self._actor.actions))
        chosen = self._actor.memory.sample(batch.cpu())
        losses = self.losses(Transitions(*(tensor.to(self.device) for tensor in chosen)))
        return {"loss": losses.mean(), "losses": losses.detach(), "penalty": torch.zeros(())}

    def on_train_end(self) -> None:
        """Leave the environment."""
        if self._actor is not None:
            self._actor.env.close()
            self._actor = None

    def score(self, data: EnvironmentDataModule, split: str) -> dict[str, float]:
        """Play the episodes of a split greedily and return `mean_return`, and minus it as `loss`.

        Control has no loss on data that others have collected: what is to be small is minus the mean
        return, so the best epoch is the one with the largest return on validation episodes.

        Args:
            data: the environment.
            split: `train`, `validation` or `test`.
        """
        mean = float(data.returns(self.act, split).mean())
        return {"loss": -mean, "mean_return": mean}

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Play the validation episodes and log `validation_loss` and `validation_mean_return`."""
        self._log("validation")

    def test_step(self, batch: Tensor, batch_idx: int) -> None:
        """Play the test episodes and log `test_loss` and `test_mean_return`."""
        self._log("test")

    def _epsilon(self, actions: int) -> float:
        options = self.options
        start, end, steps = (options[f"epsilon_{name}"] for name in ("start", "end", "steps"))
        return epsilon(actions - options["learning_starts"], start=start, end=end, steps=steps)

    def _environment(self) -> EnvironmentDataModule:
        data: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "make_env"):
            raise RequestError(
                f"dqn: expected an environment, as in fit(model, datamodule=CartPole()), got {data!r:.80}."
            )
        environment: EnvironmentDataModule = data
        return environment

    def _log(self, split: str) -> None:
        scores = self.score(self._environment(), split)
        self.log_dict({f"{split}_{name}": value for name, value in scores.items()}, batch_size=1)


class Actor:
    """Who acts while a DQN learns: one environment, its memory, and the chance in what is tried.

    Two numbers are drawn for every action, whether they are needed or not: so agents of different
    recipes share the chance that is left to them.

    Args:
        data: what makes the environment and names its streams.
        capacity: transitions that are remembered.

    Attributes:
        actions: taken so far.
    """

    def __init__(self, data: EnvironmentDataModule, capacity: int) -> None:
        self.env = data.make_env()
        self.choices = data.out_features
        self.memory = ReplayBuffer(capacity, data.facts.shape)
        self.actions = 0
        self._chance = np.random.Generator(np.random.PCG64(seed_for("exploration", data.key, data.seed)))
        self._observation, _ = self.env.reset(seed=seed_for("environment", data.key, data.seed))

    def step(self, agent: DQN, *, epsilon: float) -> None:
        """Take one action, at random with probability `epsilon`, else the agent's, and remember it.

        Args:
            agent: whose action-values count.
            epsilon: in [0, 1].
        """
        explores, action = self._chance.random() < epsilon, int(self._chance.integers(self.choices))
        if not explores:
            action = int(agent.act(torch.from_numpy(self._observation).unsqueeze(0)))
        seen, reward, terminated, truncated, _ = self.env.step(action)
        self.memory.add(self._observation, action, float(reward), seen, terminated=terminated)
        self._observation = self.env.reset()[0] if terminated or truncated else seen
        self.actions += 1


def build_network(
    in_shape: Sequence[int],
    channels: Sequence[int],
    hidden: Sequence[int],
    out_features: int,
    activation: Choice,
) -> nn.Sequential:
    """Return the network of the action-values: linear layers, for images 3x3 convolutions before them.

    Args:
        in_shape: (features,), or (channels, height, width).
        channels: filters of each convolution; they keep the size, and no pool follows: where things
            are in the picture matters.
        hidden: units of each hidden linear layer.
        out_features: actions.
        activation: what follows each convolution and hidden linear layer.

    Returns:
        (batch, *in_shape) to (batch, actions), with torch's own initial values.
    """
    plain = Choice("none", {})
    if len(in_shape) != 3:
        return mlp.build_network(math.prod(in_shape), hidden, out_features, activation, plain)
    windows: dict[str, Value] = {"kernel": 3, "padding": 1, "stride": 1, "pool": "none", "pool_size": 1}
    layers = Choice("dqn", {"channels": tuple(channels), "hidden": tuple(hidden), **windows})
    return cnn.build_network(layers, in_shape, out_features, activation, plain)
