"""The options that every data module has, and what is refused of them, without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from recipebench.datamodules.catalog import AUGMENTATIONS, Facts
from recipebench.errors import RequestError, unknown
from recipebench.levels import Choice

INPUTS = ("unit", "standardized")
"""How raw values become a model's inputs; see `TensorDataModule.float_inputs`."""

LAST_BATCHES = ("keep", "drop", "refill")
"""What becomes of a last batch that is short: kept, dropped, or completed from the next epoch's order."""

SAMPLINGS = ("shuffled", "replacement")
"""How an epoch is drawn: each training sample once, or as many draws with replacement."""


class Options(TypedDict, total=False):
    """The options that every data module has; see `TensorDataModule`."""

    batch_size: int
    validation: int | float
    train_samples: int | None
    label_noise: float
    inputs: str
    last_batch: str
    sampling: str
    augmentation: str | Mapping[str, object] | Choice
    seed: int


def samples_per_epoch(train: int, batch_size: int, last_batch: str, owner: str) -> int:
    """Return how many samples, repeated ones included, the batches of an epoch hold.

    Args:
        train: training samples.
        batch_size: samples a batch.
        last_batch: one of `LAST_BATCHES`.
        owner: the data set, for the error message.

    Raises:
        RequestError: `drop` leaves no batch.

    Example:
        >>> [samples_per_epoch(100, 60, policy, "digits") for policy in LAST_BATCHES]
        [100, 60, 120]
    """
    if last_batch == "keep":
        return train
    if last_batch == "refill":
        return -(-train // batch_size) * batch_size
    if train < batch_size:
        raise RequestError(
            f"{owner}: last_batch: drop leaves no batch: expected a batch_size of at most {train}, "
            f"the number of training samples, got {batch_size}."
        )
    return train // batch_size * batch_size


def whole(name: str, value: object, *, minimum: int) -> int:
    """Return a whole number of at least `minimum`, or raise `RequestError` naming the option."""
    if type(value) is not int or value < minimum:
        raise RequestError(f"{name}: expected a whole number of at least {minimum}, got {value!r:.80}.")
    return value


def one_of(name: str, value: object, known: tuple[str, ...], owner: str) -> str:
    """Return a name that is known, or raise `RequestError` with those that are."""
    if not isinstance(value, str) or value not in known:
        raise RequestError(f"{owner}: {unknown(name, value, known)}")
    return value


def noise_share(value: object, facts: Facts, owner: str) -> float:
    """Return the share of training labels to replace.

    Raises:
        RequestError: no number in [0, 1), or labels that are no classes.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise RequestError(
            f"{owner}: label_noise: expected a share of at least 0 and below 1, got {value!r:.80}."
        )
    if value and facts.task != "classification":
        raise RequestError(
            f"{owner}: label_noise: expected 0, because it replaces classes and the task is {facts.task}, "
            f"got {value!r}."
        )
    return float(value)


def augmentation_of(spec: object, facts: Facts, owner: str) -> Choice:
    """Return the chosen level of `AUGMENTATIONS`.

    Raises:
        RequestError: the level or a parameter is not known, or the samples are no images.
    """
    choice = AUGMENTATIONS.choose(spec)
    if choice.name != "none" and len(facts.shape) != 3:
        raise RequestError(
            f"{owner}: augmentation: expected none, because {choice.name} needs images "
            f"(channels, height, width) and the samples have the shape {facts.shape}."
        )
    return choice


def refuse_changes_of_samples(options: Options, facts: Facts, owner: str, kind: str) -> None:
    """Refuse the options that change samples, where there are none; the others have to be right.

    Args:
        options: as given.
        facts: what is known of the owner.
        owner: name of the environment or surface, for the error message.
        kind: what it is, likewise: `an environment`.

    Raises:
        RequestError: an option has the wrong type or value, or would change samples.
    """
    one_of("last_batch", options.get("last_batch", LAST_BATCHES[0]), LAST_BATCHES, owner)
    one_of("sampling", options.get("sampling", SAMPLINGS[0]), SAMPLINGS, owner)
    noise_share(options.get("label_noise", 0.0), facts, owner)
    augmentation = options.get("augmentation", "none")
    given = {
        "inputs": (options.get("inputs", INPUTS[0]), INPUTS[0]),
        "train_samples": (options.get("train_samples"), None),
        "augmentation": (getattr(augmentation, "name", augmentation), "none"),
    }
    for option, (value, only) in given.items():
        if value != only:
            raise RequestError(
                f"{owner}: {option}: expected {only}, because {kind} has no samples to change, "
                f"got {value!r:.80}."
            )
