"""What does not go together: a level without a place in a model, a loss of another task, a size that fails.

A combination that can never be trained is refused, with the place in the suite and what would fit. A level
that has no place with one model or data set, but has one with another that is crossed with it, is left out
instead: dropout beside a model without hidden layers, a loss of classes beside a regression.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recipebench.benchmarks.combinations import (
    WITHOUT_SAMPLES,
    Block,
    Combination,
    LevelSpec,
    MisplacedError,
    Settings,
    sources_of,
    training_samples,
)
from recipebench.datamodules.catalog import facts_of
from recipebench.lightning_modules.catalog import FACTORS, LOSSES
from recipebench.lightning_modules.geometry import convolution_problem
from recipebench.lightning_modules.model_catalog import (
    CONVOLUTIONAL,
    MODELS,
    has_hidden_layers,
    layer_widths,
    one_device_only,
    unmet_need,
)
from recipebench.lightning_modules.schedule_rules import schedule_problem
from recipebench.lightning_modules.shapes import dropout_problem
from recipebench.plugins import BUILT_IN, takes_decay


@dataclass(frozen=True)
class Misfit:
    """What is wrong with a combination.

    Args:
        axis: the axis whose level is to blame.
        message: what was expected, what came and what fits.
        beside: the axis that, crossed, makes it a level without a place rather than a mistake.
    """

    axis: str
    message: str
    beside: str | None = None


def left_out(block: Block, combination: Combination) -> bool:
    """Whether a level has no place here, and nobody asked for just this pair."""
    return any(_is_forgiven(block, misfit) for misfit in misfits(combination))


def fits(block: Block, combination: Combination) -> bool:
    """Whether a combination is planned: True, or False where it is `left_out`.

    Raises:
        MisplacedError: it can never be trained; with the place of the level to blame, and what would fit.
    """
    first = None
    for misfit in misfits(combination):
        if _is_forgiven(block, misfit):
            return False
        first = first or misfit
    if first:
        raise MisplacedError(block.place(first.axis), first.message)
    return True


def misfits(combination: Combination) -> Iterator[Misfit]:
    """Yield all that is wrong with a combination."""
    for rule in RULES:
        if misfit := rule(combination):
            yield misfit


def _is_forgiven(block: Block, misfit: Misfit) -> bool:
    if misfit.beside is None:
        return False
    if block.own and misfit.axis not in block.own:
        return True
    return _varies(block, misfit.beside)


def _varies(block: Block, axis: str) -> bool:
    """Whether an axis is crossed; data sets count once for each task."""
    specs = [spec for spec in block.axes.get(axis, ()) if isinstance(spec, LevelSpec)]
    if axis == "data":
        return len({(facts_of(spec.name).task, len(facts_of(spec.name).shape)) for spec in specs}) > 1
    return len(specs) > 1


def _wrong_task(c: Combination) -> Misfit | None:
    task = facts_of(c.data).task
    if task in MODELS[c.model.name].tasks:
        return None
    fits = " and ".join(MODELS[c.model.name].tasks)
    return Misfit(
        "model",
        f"model {c.model.name} is for {fits}, but data {c.data.name} is {task}; "
        f"exclude {{model: {c.model.name}, data: {c.data.name}}}.",
    )


def _unmet_need(c: Combination) -> Misfit | None:
    lacking = unmet_need(MODELS[c.model.name], facts_of(c.data))
    if lacking is None:
        return None
    facts = facts_of(c.data)
    has = f"{facts.classes} classes" if "classes" in lacking else f"inputs of shape {facts.shape}"
    return Misfit(
        "model",
        f"model {c.model.name} needs {lacking}, but data {c.data.name} has {has}; "
        f"exclude {{model: {c.model.name}, data: {c.data.name}}}.",
    )


def _no_hidden_layer(c: Combination) -> Misfit | None:
    if c.regularizer is None or not FACTORS["regularizer"][c.regularizer.name].structural:
        return None
    if has_hidden_layers(MODELS[c.model.name]):
        return None
    return Misfit(
        "regularizer",
        f"regularizer {c.regularizer.name} needs a hidden layer, and model {c.model.name} has none.",
        beside="model",
    )


def _not_written_out(c: Combination) -> Misfit | None:
    for factor, known in getattr(MODELS[c.model.name], "only", {}).items():
        choice = c.level(factor)
        if choice and choice.name not in known:
            return Misfit(
                factor,
                f"model {c.model.name} has {', '.join(known)} written out, got {factor} {choice.name}.",
                beside="model",
            )
    return None


def _own_decay(c: Combination) -> Misfit | None:
    if c.regularizer is None or c.optimizer is None or c.regularizer.name not in c.optimizer.parameters:
        return None
    return Misfit(
        "regularizer",
        f"optimizer {c.optimizer.name} has its own {c.regularizer.name}; "
        f"exclude {{regularizer: {c.regularizer.name}, optimizer: {c.optimizer.name}}}.",
    )


def _no_decay(c: Combination) -> Misfit | None:
    """An optimizer of a plug-in that takes no decay, beside the regularizer that is one."""
    if c.regularizer is None or c.optimizer is None or c.regularizer.name != "weight_decay":
        return None
    if c.optimizer.name in BUILT_IN["optimizer"] or takes_decay(c.optimizer.name):
        return None
    return Misfit(
        "regularizer",
        f"regularizer weight_decay needs an optimizer that takes weight_decay, and {c.optimizer.name} does "
        f"not; exclude {{regularizer: weight_decay, optimizer: {c.optimizer.name}}}.",
        beside="optimizer",
    )


def _broken_promise(c: Combination) -> Misfit | None:
    """An optimizer of a plug-in that does not keep what packs rely on, such as to be element-wise."""
    if c.optimizer is None or c.optimizer.name in BUILT_IN["optimizer"]:
        return None
    from recipebench.benchmarks.conformance_optimizers import broken_promise  # loads torch, as plug-ins do

    options = dict(c.optimizer.parameters)
    if c.regularizer and c.regularizer.name == "weight_decay" and takes_decay(c.optimizer.name):
        options["weight_decay"] = c.regularizer.parameters["strength"]
    problem = broken_promise(c.optimizer.name, options)
    return Misfit("optimizer", f"optimizer {c.optimizer.name}: {problem}") if problem else None


def _wrong_loss(c: Combination) -> Misfit | None:
    task = facts_of(c.data).task
    if c.loss is None or task in LOSSES[c.loss.name].tasks:
        return None
    fits = ", ".join(name for name, level in LOSSES.items() if task in level.tasks)
    return Misfit(
        "loss",
        f"loss {c.loss.name} is for {' and '.join(LOSSES[c.loss.name].tasks)}, but data {c.data.name} is "
        f"{task}; losses for {task}: {fits}.",
        beside="data",
    )


def _no_rate(c: Combination) -> Misfit | None:
    problem = schedule_problem(c.schedule, c.settings.epochs) if c.schedule else None
    return Misfit("schedule", problem) if problem else None


def _ill_shaped(c: Combination) -> Misfit | None:
    """A window that does not fit the images, a width that cannot be matched, a probability too few."""
    for data in sources_of(c.data, c.model) if c.model.name in CONVOLUTIONAL else ():
        if problem := convolution_problem(c.model.parameters, facts_of(data).shape):
            return Misfit("model", f"model {c.model.name} on {data.name}: {problem}.")
    if (
        c.model.name in CONVOLUTIONAL
        and c.activation
        and c.activation.parameters.get("match", "units") != "units"
    ):
        return Misfit(
            "activation",
            f"activation maxout: match: expected units for {c.model.name}, whose "
            f"filters have no width to match, got {c.activation.parameters['match']}.",
        )
    if c.regularizer is None or c.regularizer.name != "dropout_per_layer":
        return None
    probabilities = c.regularizer.parameters["p"]
    assert isinstance(probabilities, tuple)
    problem = dropout_problem(probabilities, layer_widths(c.model))
    return Misfit("regularizer", problem) if problem else None


def _no_images(c: Combination) -> Misfit | None:
    if c.augmentation is None or c.augmentation.name == "none" or len(facts_of(c.data).shape) == 3:
        return None
    return Misfit(
        "augmentation",
        f"augmentation {c.augmentation.name} changes images, and data {c.data.name} has none: its samples "
        f"have the shape {facts_of(c.data).shape}.",
        beside="data",
    )


def _noise_without_classes(c: Combination) -> Misfit | None:
    if not c.settings.label_noise or facts_of(c.data).task == "classification":
        return None
    return Misfit(
        "label_noise",
        f"label_noise replaces classes, and data {c.data.name} is {facts_of(c.data).task}; "
        "give it for classification data only (protocol: per_data).",
        beside="data",
    )


def _other_numbers(c: Combination) -> Misfit | None:
    """Only networks that torch's autograd trains can be computed with other numbers."""
    if c.settings.precision == Settings.precision or not one_device_only(MODELS[c.model.name]):
        return None
    return Misfit(
        "precision",
        f"precision {c.settings.precision} is for networks trained by gradient descent, not for model "
        f"{c.model.name}, which knows its numbers itself.",
        beside="model",
    )


def _no_samples_to_change(c: Combination) -> Misfit | None:
    """Environments and surfaces have no samples that the protocol could scale, choose or spoil."""
    usual = Settings()
    if facts_of(c.data).task not in WITHOUT_SAMPLES:
        return None
    for name in ("inputs", "train_samples", "label_noise"):
        if (given := getattr(c.settings, name)) != getattr(usual, name):
            return Misfit(
                name,
                f"{name} {given} changes samples, and data {c.data.name} has none; give it for other data "
                "only (protocol: per_data).",
                beside="data",
            )
    return None


def _batch_of_one(c: Combination) -> Misfit | None:
    if c.regularizer is None or c.regularizer.name != "batch_norm":
        return None
    size, samples = c.settings.batch_size, training_samples(c.data, c.settings)
    assert isinstance(size, int)
    last = samples % size if c.settings.last_batch == "keep" else 0
    if 1 not in (last, size):
        return None
    return Misfit(
        "regularizer",
        f"batch_norm cannot train on one sample, but {samples:,} training samples of {c.data.name} in "
        f"batches of {size} leave a batch of 1; choose another batch_size or validation, "
        "or last_batch: drop.",
    )


def _no_batch(c: Combination) -> Misfit | None:
    size, samples = c.settings.batch_size, training_samples(c.data, c.settings)
    assert isinstance(size, int)
    if c.settings.last_batch != "drop" or size <= samples:
        return None
    return Misfit(
        "last_batch",
        f"last_batch: drop leaves nothing of {samples:,} training samples of {c.data.name} in batches of "
        f"{size}; choose a batch_size of at most {samples:,}.",
    )


RULES: tuple[Callable[[Combination], Misfit | None], ...] = (
    _wrong_task,
    _unmet_need,
    _no_hidden_layer,
    _not_written_out,
    _own_decay,
    _no_decay,
    _broken_promise,
    _wrong_loss,
    _no_rate,
    _ill_shaped,
    _no_images,
    _noise_without_classes,
    _other_numbers,
    _no_samples_to_change,
    _batch_of_one,
    _no_batch,
)
"""What is looked for, in this order."""
