"""What is crossed: levels as suites name them, protocols, combinations, and the blocks they come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal, Protocol, TypeVar

from recipebench.benchmarks.ranges import Tune, value_of
from recipebench.benchmarks.suite_file import KeyPath
from recipebench.datamodules.catalog import AUGMENTATIONS, DATA, split_sizes
from recipebench.errors import RequestError
from recipebench.levels import Catalog, Choice, Tuned, Value
from recipebench.lightning_modules.catalog import FACTORS
from recipebench.lightning_modules.model_catalog import MODELS
from recipebench.plugins import ON_CHANGE

RECIPE: dict[str, Catalog] = {**FACTORS, "augmentation": AUGMENTATIONS}
"""The factors of a recipe, in the order of the records' columns."""

CATALOGS: dict[str, Catalog] = {"data": DATA, "model": MODELS, **RECIPE}
"""Where the levels of each axis are described, in the order of the records' columns."""

SETTINGS = (
    *("epochs", "batch_size", "inputs", "train_samples", "label_noise", "last_batch", "sampling"),
    "precision",
)
"""Parts of the protocol that can be factors."""

PROBES = ("gradients", "weights", "activations")
"""What a history can hold beside losses and scores."""

WITHOUT_SAMPLES = ("control", "minimization")
"""Tasks whose data are no samples: environments and surfaces."""

Inputs = Literal["unit", "standardized"]
LastBatch = Literal["keep", "drop", "refill"]
Sampling = Literal["shuffled", "replacement"]
Precision = Literal["32-true", "64-true", "tf32", "bf16-mixed"]

ON_GPUS_ONLY: tuple[Precision, ...] = ("tf32", "bf16-mixed")
"""Kinds of numbers that only graphics processors compute with here."""

T = TypeVar("T")


class MisplacedError(ValueError):
    """What is wrong and the key path where it is wrong, before file and line are known."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


def at(path: KeyPath, action: Callable[[], T]) -> T:
    """Run an action and say where its `RequestError` belongs."""
    try:
        return action()
    except RequestError as error:
        raise MisplacedError(path, str(error)) from None


@dataclass(frozen=True)
class LevelSpec:
    """A level as a suite names it: with the hyper-parameters that are given, checked, and no others."""

    name: str
    given: Mapping[str, Value | Tune]

    def matches(self, choice: Choice | None) -> bool:
        """Whether a choice has this name and the given hyper-parameters, whatever its others are."""
        if choice is None or choice.name != self.name:
            return False
        return all(value_of(choice, key) == value for key, value in self.given.items())


@dataclass(frozen=True)
class Settings:
    """The protocol of one data set.

    Args:
        epochs: passes over the training data.
        batch_size: samples for each optimizer step, or `full` for all training samples at once.
        validation: samples set aside for validation: a count, or a fraction of the training data.
        inputs: `unit` (as stored, images in [0, 1]) or `standardized` (mean 0, standard deviation 1).
        train_samples: samples to train on, the first of the seed's permutation; None for all.
        label_noise: share of the training labels that are replaced by another class.
        last_batch: what becomes of an epoch's last, shorter batch.
        sampling: whether an epoch sees each sample once or draws with replacement.
        precision: the numbers that are computed with, as Lightning names them; `tf32` are 32-true whose
            products may be rounded to 10 bits.
        probes: what is measured of the layers after every epoch.
    """

    epochs: int = 10
    batch_size: int | Literal["full"] = 128
    validation: int | float = 0.1
    inputs: Inputs = "unit"
    train_samples: int | None = None
    label_noise: float = 0.0
    last_batch: LastBatch = "keep"
    sampling: Sampling = "shuffled"
    precision: Precision = "32-true"
    probes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Combination:
    """A recipe on a data set under a protocol: a cell but for device and seed.

    A factor that the model does not respond to is None, as the activation of a linear model is.

    Args:
        data: the data set.
        model: the network.
        activation: what follows its hidden layers.
        initializer: how its weights start.
        regularizer: what keeps it from overfitting.
        optimizer: how its weights move.
        loss: what is minimized.
        schedule: how the learning rate changes.
        augmentation: what is done to training images.
        settings: the protocol.
    """

    data: Choice
    model: Choice
    activation: Choice | None
    initializer: Choice | None
    regularizer: Choice | None
    optimizer: Choice | None
    loss: Choice | None
    schedule: Choice | None
    augmentation: Choice | None
    settings: Settings

    def level(self, factor: str) -> Choice | None:
        """Return the choice of one axis of `CATALOGS`."""
        choice: Choice | None = getattr(self, factor)
        return choice

    @property
    def ranges(self) -> dict[str, Tune]:
        """The hyper-parameters that are to be chosen, as `<factor>.<hyper-parameter>`."""
        tuned = {f: choice for f in RECIPE if isinstance(choice := self.level(f), Tuned)}
        return {f"{f}.{name}": tune for f, choice in tuned.items() for name, tune in choice.ranges.items()}

    def settled(self, values: Mapping[str, float]) -> Combination:
        """Return the combination with a value for each of its `ranges`."""
        levels: dict[str, Any] = {}
        for factor in RECIPE:
            choice = self.level(factor)
            if isinstance(choice, Tuned):
                mine = {name: values[f"{factor}.{name}"] for name in choice.ranges}
                levels[factor] = CATALOGS[factor].choose({choice.name: {**choice.parameters, **mine}})
        return replace(self, **levels)

    def corners(self) -> list[Combination]:
        """Return itself, or with the lowest and with the highest values of its ranges."""
        ranges = self.ranges
        if not ranges:
            return [self]
        ends = ({name: getattr(r.axis, end) for name, r in ranges.items()} for end in ("low", "high"))
        return [self.settled(values) for values in ends]

    def key(self) -> tuple[object, ...]:
        """Return what tells this combination from others, hashable."""
        choices = [self.level(factor) for factor in CATALOGS]
        return (*(choice and key_of(choice) for choice in choices), self.settings)


def key_of(choice: Choice) -> tuple[object, ...]:
    """Return what tells a level from others, hashable."""
    ranges = choice.ranges if isinstance(choice, Tuned) else {}
    return (choice.name, tuple(sorted(choice.parameters.items())), tuple(sorted(ranges.items())))


Axes = Mapping[str, tuple[object, ...]]
"""The levels of each axis: `LevelSpec` for an axis of `CATALOGS`, values for all others."""


@dataclass(frozen=True)
class Block:
    """Axes that are crossed completely: the matrix, or one entry of `include`.

    Args:
        path: where the block stands in the suite.
        axes: all axes, those of the matrix that an entry leaves out among them.
        own: names of the axes that an entry of `include` gives itself; they win over the matrix.
        above: names of the axes that stand at the top of the suite.
    """

    path: KeyPath
    axes: Axes
    own: frozenset[str] = frozenset()
    above: frozenset[str] = frozenset()

    def place(self, axis: str) -> KeyPath:
        """Return the path at which an axis was given, or would have been."""
        return (axis,) if axis in self.above else (*self.path, axis)


def sources_of(data: Choice, model: Choice) -> tuple[Choice, ...]:
    """Return the data sets that a cell reads: its own, and the one that transfer learning starts from."""
    first = model.parameters.get("source") if model.name == "transfer_cnn" else None
    return (data, DATA.choose(first)) if first else (data,)


class Sizing(Protocol):
    """What decides how many samples are trained on: a protocol, or a cell."""

    @property
    def validation(self) -> int | float:
        """Samples set aside for validation."""

    @property
    def train_samples(self) -> int | None:
        """Samples to train on at most."""


def training_samples(data: Choice, settings: Sizing) -> int:
    """Return how many samples a protocol leaves to train on.

    Raises:
        MisplacedError: it asks for more than there are.
    """
    asked = settings.validation, settings.train_samples
    place = ("protocol", "validation" if settings.train_samples is None else "train_samples")
    return at(place, partial(_training_samples, data.name, tuple(data.parameters.items()), *asked))


@lru_cache(maxsize=1024)
def _training_samples(
    name: str, parameters: tuple[tuple[str, Value], ...], validation: int | float, train_samples: int | None
) -> int:
    return split_sizes(Choice(name, dict(parameters)), validation, train_samples).train


ON_CHANGE.append(_training_samples.cache_clear)
