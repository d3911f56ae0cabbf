"""Catch: a ball falls through a small picture, and a paddle at the bottom has to be under it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

ROWS = 10
"""Height of the picture in pixels; an episode has one step fewer."""

COLUMNS = 5
"""Width of the picture in pixels."""

Pixels = npt.NDArray[np.float32]


class CatchEnv(gymnasium.Env[Pixels, np.int64]):
    """A picture of 10 x 5 pixels, black but for the ball and the paddle.

    The ball starts at the top in a random column and falls one row a step; the paddle starts in the
    middle of the bottom row. Actions: 0 left, 1 stay, 2 right. The last step pays 1 if the paddle is
    under the ball and -1 if not, all others nothing, so the best return is 1 from every start. All that
    matters is in the picture, but the reward comes nine steps after the first choice.

    Args:
        render_mode: `ansi` for a picture of characters from `render`, or None.

    References:
        Osband et al., Behaviour Suite for Reinforcement Learning, ICLR 2020 (catch: this game, these
        sizes); Mnih, Heess, Graves and Kavukcuoglu, Recurrent Models of Visual Attention, NIPS 2014.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012  (as gymnasium has it)

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (1, ROWS, COLUMNS), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.ball = (0, 0)
        self.paddle = COLUMNS // 2

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Pixels, dict[str, Any]]:
        """Begin an episode; see `gymnasium.Env.reset`. There are no options."""
        super().reset(seed=seed)
        self.ball = (0, int(self.np_random.integers(COLUMNS)))
        self.paddle = COLUMNS // 2
        return self._picture(), {}

    def step(self, action: np.int64) -> tuple[Pixels, float, bool, bool, dict[str, Any]]:
        """Move the paddle, then the ball; see `gymnasium.Env.step`."""
        self.paddle = min(max(self.paddle + int(action) - 1, 0), COLUMNS - 1)
        row, column = self.ball[0] + 1, self.ball[1]
        self.ball = (row, column)
        if row < ROWS - 1:
            return self._picture(), 0.0, False, False, {}
        return self._picture(), 1.0 if column == self.paddle else -1.0, True, False, {}

    def render(self) -> str | None:
        """Return the picture in characters, one line a row, if `render_mode` asks for it."""
        if self.render_mode is None:
            return None
        return "\n".join("".join(".o"[int(pixel)] for pixel in row) for row in self._picture()[0])

    def _picture(self) -> Pixels:
        picture = np.zeros((1, ROWS, COLUMNS), np.float32)
        picture[0, *self.ball] = 1.0
        picture[0, ROWS - 1, self.paddle] = 1.0
        return picture
