"""Conformance of data sets: facts that agree with what is yielded, splits apart, orders that repeat."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from recipebench import datamodules
from recipebench.benchmarks.conformance import Case, Check, random_problem, same_bits
from recipebench.datamodules import TensorDataModule
from recipebench.datamodules.catalog import facts_of, split_sizes
from recipebench.levels import Choice

CLOSE = 1e-4
"""Largest difference of a stated mean or standard deviation from the one of the samples."""


def _module(case: Case, choice: Choice | None = None, **options: Any) -> TensorDataModule:
    made = datamodules.create(choice or case.choice, **options)
    made.setup()
    return made


def _builds(case: Case) -> str | None:
    made: object = datamodules.create(case.choice)
    if not isinstance(made, TensorDataModule):
        return f"expected a TensorDataModule, whose samples can be checked, got {type(made).__name__}."
    return None


def _choices(case: Case) -> list[Choice]:
    """Return the data set with its defaults, and with fewer samples where it has an `n`."""
    choices = [case.choice]
    if isinstance(n := case.options.get("n"), int):
        choices.append(Choice(case.name, {**case.options, "n": max(20, n // 2)}))
    return choices


def _facts(case: Case) -> str | None:
    for choice in _choices(case):
        made, facts = _module(case, choice), facts_of(choice)
        train, test = made.load()
        for name, samples, count in (("train", train, facts.train), ("test", test, facts.test)):
            got = len(samples.inputs) if samples else 0
            if got != count:
                n = choice.parameters.get("n")
                with_n = f" with n = {n}" if n is not None else ""
                return f"wrong facts: expected {count} {name} samples{with_n}, got {got}."
        if tuple(train.inputs.shape[1:]) != facts.shape:
            return (
                f"wrong facts: expected samples of shape {facts.shape}, got {tuple(train.inputs.shape[1:])}."
            )
        if problem := _target_problem(train.targets, facts.classes):
            return problem
        if not bool(torch.isfinite(train.inputs.double()).all()):
            return "expected finite inputs, got some that are not."
    return _moments_problem(case)


def _target_problem(targets: Tensor, classes: int | None) -> str | None:
    if classes is None:
        good = targets.dtype == torch.float32 and targets.ndim == 2 and targets.shape[1] == 1
        got = f"{targets.dtype} {tuple(targets.shape)}"
        return None if good else f"shape error: expected targets as float32 (n, 1), got {got}."
    if targets.dtype != torch.int64 or targets.ndim != 1:
        return f"shape error: expected classes as int64 (n,), got {targets.dtype} {tuple(targets.shape)}."
    found = sorted(set(targets.tolist()))
    if found == list(range(classes)):
        return None
    return f"wrong facts: expected every class from 0 to {classes - 1} among the samples, got {found!r:.80}."


def _moments_problem(case: Case) -> str | None:
    facts = facts_of(case.choice)
    if facts.per_feature or (facts.mean, facts.std) == (0.0, 1.0):
        return None  # standardized by the split, or not at all
    values = _module(case).load()[0].inputs.double() / facts.scale
    found = {"mean": float(values.mean()), "std": float(values.std(unbiased=False))}
    for name, got in found.items():
        stated = getattr(facts, name)
        if abs(stated - got) > CLOSE * max(1.0, abs(got)):
            return f"wrong facts: expected {name} {got:.6g}, as the samples have it, got {stated:.6g}."
    return None


def _splits(case: Case) -> str | None:
    made = _module(case, seed=1)
    rows = {"train": made.train, "validation": made.validation, "test": made.test}
    sizes = dataclasses.asdict(split_sizes(case.choice))
    for name, split in rows.items():
        if len(split) != sizes[name]:
            return f"expected {sizes[name]} {name} samples, got {len(split)}."
    held_out = not facts_of(case.choice).test
    pairs = [("train", "validation"), *([("train", "test"), ("validation", "test")] if held_out else [])]
    for a, b in pairs:
        shared = set(rows[a].indices.tolist()) & set(rows[b].indices.tolist())
        if shared:
            return f"expected {a} and {b} without common samples, got {len(shared)}."
    return None


def _order(case: Case) -> str | None:
    first, again, other = (_module(case, seed=seed) for seed in (1, 1, 2))
    if not torch.equal(first.order(1), again.order(1)):
        return "expected one order for one seed and epoch, got two."
    if len(first.train) > 10 and torch.equal(first.order(1), first.order(2)):
        return "expected another order in another epoch, got the same."
    if len(first.train) > 10 and torch.equal(first.order(1), other.order(1)):
        return "expected another order for another seed, got the same."
    return None


def _repeats(case: Case) -> str | None:
    loaded = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        train, test = _module(case, seed=seed).load()
        loaded.append([t for s in (train, test) if s for t in (s.inputs, s.targets)])
    if all(same_bits(a, b) for a, b in zip(*loaded, strict=True)):
        return None
    return "expected the same samples whenever it is loaded and whatever the seed, got others."


def _batches(case: Case) -> str | None:
    for inputs in ("unit", "standardized"):
        made = _module(case, inputs=inputs, batch_size=8)
        x, y = next(iter(made.train_dataloader()))
        rows = min(8, len(made.train))
        if tuple(x.shape) != (rows, *made.facts.shape) or x.dtype != torch.float32:
            return (
                f"shape error: expected {inputs} batches of {(rows, *made.facts.shape)} torch.float32, got "
                f"{tuple(x.shape)} {x.dtype}."
            )
        if not bool(torch.isfinite(x).all()):
            return f"expected finite {inputs} inputs, got some that are not."
        if len(y) != rows:
            return f"shape error: expected {rows} targets in a batch, got {len(y)}."
    return None


DATA_SET: tuple[Check, ...] = (
    ("build", _builds),
    ("facts", _facts),
    ("splits", _splits),
    ("order", _order),
    ("batches", _batches),
    ("global random numbers", lambda case: random_problem(lambda: _module(case))),
    ("same bits twice", _repeats),
)
"""What a data set has to be: as its facts say, the same for everybody, its splits apart."""
