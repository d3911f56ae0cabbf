"""Where runs of Weights & Biases go, as it is asked for and as it turns out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MODES = ("online", "offline", "shared", "disabled")
"""How runs go to the server: as they are written, not at all, as one of several writers; or no runs."""

DEFAULT_PROJECT = "recipebench"


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where runs of Weights & Biases go.

    Args:
        project: the project; None takes `WANDB_PROJECT`, or `recipebench`.
        entity: the user or team; None takes `WANDB_ENTITY`, or the key's owner.
        mode: one of `MODES`; None takes `WANDB_MODE`, or online with a key and offline without one.
    """

    project: str | None = None
    entity: str | None = None
    mode: str | None = None


@dataclass(frozen=True)
class Target:
    """Where runs go.

    Args:
        project: the project.
        entity: the user or team; None is the key's owner.
        mode: `online`, `offline` or `shared`.
        note: what a person should know about the mode, or nothing.
    """

    project: str
    entity: str | None
    mode: str
    note: str = ""

    @property
    def name(self) -> str:
        """Entity and project in one text."""
        return f"{self.entity or ''}/{self.project}"


def settle(asked: Tracking, environment: Mapping[str, str], *, can_log_in: bool) -> Target:
    """Settle project, entity and mode.

    Args:
        asked: what suite and command say.
        environment: the variables of the person who asked.
        can_log_in: whether there is a key.

    Example:
        >>> settle(Tracking(), {}, can_log_in=False).mode
        'offline'
    """
    project = asked.project or environment.get("WANDB_PROJECT") or DEFAULT_PROJECT
    entity = asked.entity or environment.get("WANDB_ENTITY") or None
    wanted = asked.mode or environment.get("WANDB_MODE") or None
    if wanted not in ("online", "offline", "shared"):
        wanted = None
    if can_log_in or wanted == "offline":
        return Target(project, entity, wanted or "online")
    return Target(project, entity, "offline", "no API key was found, so runs are kept offline")
