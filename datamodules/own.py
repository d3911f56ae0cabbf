"""Data sets of one's own: a function that returns samples, made a data module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from recipebench.datamodules.base import Samples, TensorDataModule
from recipebench.datamodules.catalog import Facts
from recipebench.errors import RequestError
from recipebench.levels import Level


class OfFunction(TensorDataModule):
    """A data set whose samples a function returns; `from_function` makes a subclass for each.

    Args:
        **options: the function's hyper-parameters, and what `TensorDataModule` takes.

    Attributes:
        function: returns (inputs, targets), or (inputs, targets, test inputs, test targets).
        own: the names of its hyper-parameters.
    """

    function: ClassVar[Callable[..., Any]]
    own: ClassVar[tuple[str, ...]]

    def __init__(self, **options: Any) -> None:
        parameters = {name: options.pop(name) for name in self.own if name in options}
        super().__init__(parameters, **options)

    def load(self) -> tuple[Samples, Samples | None]:
        """Return what the function returns, as tensors."""
        returned = type(self).function(**self.choice.parameters)
        return samples_of(returned, self.facts.task, self.name)


def from_function(
    function: Callable[..., Any],
    level: Level,
    *,
    task: Literal["classification", "regression"],
    license: str,  # noqa: A002
    citation: str,
    source: str,
) -> type[OfFunction]:
    """Return the data module of a function, with the facts of what it returns by default.

    Args:
        function: of the level's hyper-parameters; see `OfFunction`.
        level: its name and hyper-parameters.
        task: what is learned.
        license: under which the data may be used.
        citation: what to cite.
        source: where they come from.

    Raises:
        RequestError: it returns something else.
    """
    returned = function(**{p.name: p.default for p in level.parameters})
    train, test = samples_of(returned, task, level.name)
    classes = int(train.targets.max()) + 1 if task == "classification" else None
    x = train.inputs
    scale = 255.0 if x.dtype == torch.uint8 else 1.0
    features = x.ndim == 2
    values = x.double() / scale
    facts = Facts(
        task=task,
        classes=classes,
        shape=tuple(x.shape[1:]),
        train=len(x),
        test=len(test.inputs) if test else 0,
        scale=scale,
        mean=0.0 if features else float(values.mean()),
        std=1.0 if features else float(values.std(unbiased=False)) or 1.0,
        per_feature=features,
        content=_sha256(train, test),
        license=license,
        source=source,
        citation=citation,
    )
    parts = {"name": level.name, "facts": facts, "function": staticmethod(function)}
    parts |= {"own": tuple(p.name for p in level.parameters), "__doc__": level.summary}
    return type(level.name, (OfFunction,), parts)


def samples_of(returned: Any, task: str, name: str) -> tuple[Samples, Samples | None]:
    """Return arrays or tensors as samples, and the test samples where there are four.

    Raises:
        RequestError: they are no pair or two, or their shapes or types do not go together.
    """
    if not isinstance(returned, tuple | list) or len(returned) not in (2, 4):
        raise RequestError(
            f"data {name}: expected (inputs, targets) or (inputs, targets, test inputs, test targets), got "
            f"{type(returned).__name__}{f' of {len(returned)}' if hasattr(returned, '__len__') else ''}."
        )
    tensors = [_tensor(part, name) for part in returned]
    pairs = [_pair(x, y, task, name) for x, y in zip(tensors[::2], tensors[1::2], strict=True)]
    return pairs[0], (pairs[1] if len(pairs) == 2 else None)


def _tensor(part: Any, name: str) -> Tensor:
    if isinstance(part, Tensor):
        tensor = part.detach()
    else:
        array = np.asarray(part)
        if array.dtype.kind not in "biuf":
            raise RequestError(
                f"data {name}: expected numbers, as arrays or tensors, got {type(part).__name__} of "
                f"{array.dtype}."
            )
        tensor = torch.as_tensor(array)
    if tensor.is_complex():
        raise RequestError(f"data {name}: expected real numbers, got {tensor.dtype}.")
    return tensor


def _pair(x: Tensor, y: Tensor, task: str, name: str) -> Samples:
    if x.ndim not in (2, 4) or len(x) != len(y) or y.numel() != len(y) or not len(y):
        raise RequestError(
            f"data {name}: expected inputs (n, features) or (n, channels, height, width) and targets (n,), "
            f"got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    inputs = x if x.dtype == torch.uint8 else x.float()
    if task == "regression":
        return Samples(inputs, y.float().reshape(-1, 1))
    if y.is_floating_point() or int(y.min()) < 0:
        raise RequestError(
            f"data {name}: expected classes as whole numbers from 0 on, got {y.dtype} from {y.min():g} on."
        )
    return Samples(inputs, y.long().reshape(-1))


def _sha256(train: Samples, test: Samples | None) -> str:
    digest = hashlib.sha256()
    for samples in (train, test):
        for tensor in (samples.inputs, samples.targets) if samples else ():
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
