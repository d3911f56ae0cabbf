"""Replay memory: the latest steps of an agent in tensors of fixed size, to be drawn from again and again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recipebench.errors import RequestError


class Transitions(NamedTuple):
    """Steps of an agent, as many as the batch is long.

    Args:
        observations: (batch, *shape) float32, what the agent saw.
        actions: (batch,) int64, what it did.
        rewards: (batch,) float32, what it got for it.
        next_observations: (batch, *shape) float32, what it saw then.
        terminated: (batch,) bool, whether there is nothing more to get from there on. False where an
            episode was only cut off by a time limit.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminated: Tensor


class ReplayBuffer:
    """The latest `capacity` transitions; when it is full, a new one takes the place of the oldest.

    Observations are held twice, as beginning and as end of a step: so the last one of an episode is
    there, from which no step begins.

    Args:
        capacity: transitions that are held at most.
        shape: of one observation.

    Raises:
        RequestError: there is no place for a single transition.

    Example:
        >>> memory = ReplayBuffer(2, (1,))
        >>> for step in range(3):
        ...     here, there = np.float32([[step], [step + 1]])
        ...     memory.add(here, step, 0.5, there, terminated=False)
        >>> len(memory), memory.transitions.actions.tolist()
        (2, [2, 1])

    References:
        Lin, Self-Improving Reactive Agents Based on Reinforcement Learning, Planning and Teaching, 1992;
        Mnih et al., Human-Level Control through Deep Reinforcement Learning, Nature 518, 2015.
    """

    def __init__(self, capacity: int, shape: Sequence[int]) -> None:
        if capacity < 1:
            raise RequestError(f"replay buffer: capacity: expected at least 1, got {capacity}.")
        self.capacity = capacity
        self.transitions = Transitions(
            torch.zeros(capacity, *shape),
            torch.zeros(capacity, dtype=torch.int64),
            torch.zeros(capacity),
            torch.zeros(capacity, *shape),
            torch.zeros(capacity, dtype=torch.bool),
        )
        self._arrays = [tensor.numpy() for tensor in self.transitions]  # the same memory, quicker to write to
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(
        self,
        observation: npt.NDArray[np.float32],
        action: int,
        reward: float,
        next_observation: npt.NDArray[np.float32],
        *,
        terminated: bool,
    ) -> None:
        """Remember one transition; see `Transitions`."""
        place = self._added % self.capacity
        values = (observation, action, reward, next_observation, terminated)
        for array, value in zip(self._arrays, values, strict=True):
            array[place] = value
        self._added += 1

    def sample(self, draws: Tensor) -> Transitions:
        """Return the transitions that uniform numbers choose, each alike likely, with replacement.

        Args:
            draws: (batch,) float64 in [0, 1); transition floor(draw * len) is taken.

        Raises:
            RuntimeError: nothing has been added yet.
        """
        if not self._added:
            raise RuntimeError("replay buffer: add a transition before sample().")
        chosen = (draws * len(self)).long()
        return Transitions(*(tensor.index_select(0, chosen) for tensor in self.transitions))
