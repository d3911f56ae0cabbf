"""The cases of the speed suite: every level of every factor in every part of a step, on every device here.

All are trained on one perceptron, 784-128-64-10 with batches of 128, that has one level exchanged for the
default. What cannot depend on the level is timed too: forward and backward pass know nothing of the
optimizer, and none of the three of the initializer. These are the controls; how far they differ shows
how exact a run is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import torch

from recipebench.benchmarks.speed import loaders
from recipebench.benchmarks.speed.steps import (
    NARROW,
    WIDE,
    Alone,
    Shape,
    Together,
    Work,
    member,
    synchronized,
)
from recipebench.errors import RequestError
from recipebench.lightning_modules.catalog import DEFAULT_LOSS, DEFAULTS, FACTORS
from recipebench.lightning_modules.packed.module import obstacle

TIMED = ("activation", "initializer", "regularizer", "optimizer", "loss")
"""Factors whose levels do something in a step or before the first; schedules act between epochs."""

PHASES = ("forward", "backward", "step")
"""Parts of training that every level is timed in; more by factor below."""

CONTROLS = {"initializer": PHASES, "optimizer": ("forward", "backward")}
"""Parts that are the same computation whatever the level."""

OWN_PHASES: dict[str, tuple[str, ...]] = {
    "initializer": ("initialization",),
    "optimizer": ("update", "packed update"),
}
"""Parts that only levels of one factor have."""

PACKED = 16
"""Members of the packs in which optimizers are timed."""

SIZES = (1, 2, 8, 32, 64)
"""Members of the packs that are compared with a module by itself."""

ALONE = "alone"
YARDSTICK = "product of 1024"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that is timed.

    Args:
        factor: what is compared.
        level: one value of it.
        phase: the part of the training that is timed.
        device: `cpu` or `cuda`.
        setting: shape and batch size; only equal ones are compared.
        baseline: the level that the others are compared with.
        prepare: makes everything ready and returns what is timed.
        members: cells that are trained by one call.
        control: whether the level can make no difference.
        place: among all cases that are asked for, in the order of the catalogs.
    """

    factor: str
    level: str
    phase: str
    device: str
    setting: str
    baseline: str
    prepare: Callable[[], Work]
    members: int = 1
    control: bool = False
    place: int = 0

    @property
    def group(self) -> str:
        """What is compared with each other, in words."""
        return f"{self.factor}, {self.phase}, {self.setting}, {self.device}"

    @property
    def id(self) -> str:
        """All that tells it from other cases, as one word."""
        words = (self.factor, self.level, self.phase, self.setting, self.device)
        return "-".join(word.replace(",", "").replace(" ", "_") for word in words)

    def facts(self) -> dict[str, str | int | bool]:
        """Return what is saved beside the times."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "prepare"}

    def ready(self) -> Work:
        """Return what is timed, run once or more already, and ended when it returns."""
        work = synchronized(self.prepare(), self.device)
        work()
        return work


def devices() -> list[str]:
    """Return the kinds of device that are there."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def cases(on: Sequence[str], only: str = "") -> list[Case]:
    """Return all cases, levels of plug-ins that are loaded included.

    Args:
        on: devices.
        only: a part of the id of the cases that are wanted.

    Raises:
        RequestError: there are none.
    """
    found = [case for device in on for case in _on(device) if only in case.id]
    if not found:
        raise RequestError(f"Expected a part of a case's name, such as activation-relu, got {only!r}.")
    return [replace(case, place=place) for place, case in enumerate(found)]


def in_passes(found: Sequence[Case], passes: int) -> list[tuple[Case, int]]:
    """Repeat all cases, pass by pass, in a new order each: what changes meanwhile then meets all alike.

    Args:
        found: the cases.
        passes: how often.

    Returns:
        Cases with the number of their pass, from 1.
    """
    ordered: list[tuple[Case, int]] = []
    for number in range(1, passes + 1):
        shuffled = random.Random(number).sample(found, len(found))
        ordered += [(case, number) for case in shuffled]
    return ordered


def _on(device: str) -> Iterator[Case]:
    yield from _levels(device)
    yield from _loaders(device)
    yield from _packs(device)
    yield Case(
        factor="yardstick",
        level=YARDSTICK,
        phase="product",
        device=device,
        setting="float32",
        baseline=YARDSTICK,
        prepare=partial(_product, device),
    )


def _levels(device: str) -> Iterator[Case]:
    for factor in TIMED:
        for name, level in FACTORS[factor].items():
            tasks = level.tasks if factor == "loss" else ("classification",)
            for task in tasks:
                yield from _phases(factor, name, task, device)
    if _packs_on(device):
        yield from (_packed_update(name, device) for name in FACTORS["optimizer"])


def _phases(factor: str, name: str, task: str, device: str) -> Iterator[Case]:
    baseline = DEFAULT_LOSS[task] if factor == "loss" else DEFAULTS[factor]
    for phase in (*PHASES, *OWN_PHASES.get(factor, ())):
        if phase in _PARTS:
            yield Case(
                factor=factor,
                level=name,
                phase=phase,
                device=device,
                setting=WIDE.label(task),
                baseline=baseline,
                prepare=partial(_part, phase, factor, name, task, device),
                control=phase in CONTROLS.get(factor, ()),
            )


_PARTS: dict[str, Callable[[Alone], Work]] = {
    "forward": lambda alone: alone.loss,
    "backward": Alone.backward,
    "step": Alone.checked_step,
    "update": Alone.update,
    "initialization": Alone.initialization,
}


def _part(phase: str, factor: str, name: str, task: str, device: str) -> Work:
    return _PARTS[phase](Alone(WIDE, device, task, **{factor: name}))


def _packed_update(name: str, device: str) -> Case:
    return Case(
        factor="optimizer",
        level=name,
        phase="packed update",
        device=device,
        setting=WIDE.label(),
        baseline=DEFAULTS["optimizer"],
        prepare=lambda: Together(WIDE, PACKED, device, optimizer=name).update(),
        members=PACKED,
    )


def _loaders(device: str) -> Iterator[Case]:
    for setting in loaders.SOURCES:
        for level in loaders.LEVELS:
            yield Case(
                factor="loader",
                level=level,
                phase="epoch",
                device=device,
                setting=setting,
                baseline=loaders.WHOLE,
                prepare=partial(_epoch, level, setting, device),
            )


def _epoch(level: str, setting: str, device: str) -> Work:
    return loaders.epoch(loaders.loader(level, setting), device)


def _packs(device: str) -> Iterator[Case]:
    if not _packs_on(device):
        return
    for shape in (WIDE, NARROW):
        for members in (None, *SIZES):
            yield Case(
                factor="pack",
                level=f"pack of {members}" if members else ALONE,
                phase="step",
                device=device,
                setting=shape.label(),
                baseline=ALONE,
                prepare=partial(_pack, shape, members, device),
                members=members or 1,
            )


def _pack(shape: Shape, members: int | None, device: str) -> Work:
    made = Together(shape, members, device) if members else Alone(shape, device)
    return made.checked_step()


def _packs_on(device: str) -> bool:
    """Whether modules on this device can be packed."""
    return obstacle(member(NARROW, device)) is None


def _product(device: str) -> Work:
    a, b = torch.randn(2, 1024, 1024, generator=torch.Generator().manual_seed(0)).to(device)
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)
