"""Replay memory against a deque, and the transitions that given draws choose."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
import torch

from recipebench.errors import RequestError
from recipebench.lightning_modules import ReplayBuffer

Row = tuple[list[float], int, float, list[float], bool]


def row(number: int) -> Row:
    here, there = [number, number + 0.25], [number + 0.5, number + 0.75]
    return here, number % 3, number / 8, there, number % 4 == 3


def array(values: list[float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, np.float32)


def filled(capacity: int, count: int) -> ReplayBuffer:
    memory = ReplayBuffer(capacity, (2,))
    for number in range(count):
        here, action, reward, there, terminated = row(number)
        memory.add(array(here), action, reward, array(there), terminated=terminated)
    return memory


def rows(memory: ReplayBuffer, draws: torch.Tensor) -> list[Row]:
    return list(zip(*(tensor.tolist() for tensor in memory.sample(draws)), strict=True))


def every(memory: ReplayBuffer) -> torch.Tensor:
    return (torch.arange(len(memory), dtype=torch.float64) + 0.5) / len(memory)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11, 100])
def test_it_holds_what_a_deque_holds(count: int) -> None:
    reference = deque((row(number) for number in range(count)), maxlen=4)
    memory = filled(4, count)

    assert len(memory) == len(reference)
    assert sorted(rows(memory, every(memory))) == sorted(reference)


def test_a_new_transition_takes_the_place_of_the_oldest() -> None:
    memory = filled(3, 3)
    before = rows(memory, every(memory))
    memory.add(array([9, 9]), 2, -1.0, array([8, 8]), terminated=True)

    assert rows(memory, every(memory)) == [([9, 9], 2, -1.0, [8, 8], True), *before[1:]]


def test_draws_choose_by_their_share() -> None:
    memory = filled(10, 3)
    draws = torch.tensor([0.0, 1 / 3 - 1e-9, 1 / 3 + 1e-9, 0.7, 1 - 2.0**-53], dtype=torch.float64)

    assert rows(memory, draws) == [row(number) for number in (0, 0, 1, 2, 2)]


def test_types_and_shapes() -> None:
    memory = ReplayBuffer(2, (1, 4, 3))
    memory.add(np.ones((1, 4, 3), np.float32), 1, 0.5, np.zeros((1, 4, 3), np.float32), terminated=False)
    batch = memory.sample(torch.zeros(5, dtype=torch.float64))

    assert [tuple(tensor.shape) for tensor in batch] == [(5, 1, 4, 3), (5,), (5,), (5, 1, 4, 3), (5,)]
    assert [tensor.dtype for tensor in batch] == [
        torch.float32,
        torch.int64,
        torch.float32,
        torch.float32,
        torch.bool,
    ]


def test_a_batch_is_no_view_of_the_memory() -> None:
    memory = filled(2, 2)
    batch = memory.sample(torch.zeros(1, dtype=torch.float64))
    batch.observations.fill_(-7.0)

    assert rows(memory, torch.zeros(1, dtype=torch.float64)) == [row(0)]


def test_what_is_refused() -> None:
    with pytest.raises(RequestError, match="capacity: expected at least 1, got 0"):
        ReplayBuffer(0, (4,))
    with pytest.raises(RuntimeError, match="add a transition before sample"):
        ReplayBuffer(2, (4,)).sample(torch.zeros(1, dtype=torch.float64))
