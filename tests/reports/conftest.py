"""Synthetic records and history with the columns of a run, and plausible numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from itertools import product
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from recipebench.levels import Choice, Tuned
from recipebench.reports.suite_info import Endpoint, Range, Space, SuiteInfo, Targets, Tuning

FACTORS = {
    "activation": (
        Choice("sigmoid", {}),
        Choice("relu", {}),
        Choice("leaky_relu", {"slope": 0.01}),
        Choice("maxout", {"pieces": 2}),
    ),
    "initializer": (Choice("xavier", {}), Choice("he", {})),
    "regularizer": (
        Choice("none", {}),
        Choice("l1", {"strength": 1e-5}),
        Choice("l2", {"strength": 1e-4}),
        Choice("dropout", {"p": 0.5}),
        Choice("early_stopping", {"patience": 3}),
    ),
    "optimizer": (
        Choice("sgd", {"lr": 0.1}),
        Choice("momentum", {"lr": 0.05, "momentum": 0.9}),
        Choice("adagrad", {"lr": 0.01}),
        Choice("rmsprop", {"lr": 0.001}),
        Choice("adam", {"lr": 0.001}),
    ),
}
EFFECTS = {
    "sigmoid": -0.9,
    "leaky_relu": 0.05,
    "maxout": 0.2,
    "he": 0.12,
    "l1": -0.03,
    "l2": 0.02,
    "dropout": 0.08,
    "early_stopping": -0.05,
    "sgd": -0.5,
    "momentum": -0.05,
    "adagrad": -0.6,
    "rmsprop": -0.02,
}
SHARES = {"digits": 0.965, "mnist": 0.981}
STATUS = ["ok", "diverged", "failed", "missing"]


class Made(NamedTuple):
    records: pd.DataFrame
    history: pd.DataFrame
    suite: SuiteInfo
    environments: list[dict[str, Any]]


def make(
    *,
    data: tuple[str, ...] = ("synthetic_regression", "digits", "mnist"),
    factors: dict[str, tuple[Choice, ...]] = FACTORS,
    seeds: int = 3,
    epochs: int = 10,
    troubled: bool = True,
    name: str = "core",
) -> Made:
    """Make a full crossing; with `troubled`, a few cells diverge, fail or are missing."""
    draw = np.random.default_rng(7)
    rows, histories = [], []
    for label, recipe, seed in product(data, product(*factors.values()), range(seeds)):
        row, history = _cell(
            label, dict(zip(factors, recipe, strict=True)), seed, epochs, draw, troubled, name
        )
        rows.append(row)
        histories.append(history)
    suite = SuiteInfo(
        name=name,
        description="Activations, initializers, regularizers and optimizers, fully crossed.",
        endpoints={d: _endpoint(d) for d in data},
        factors=factors,
        seeds=tuple(range(seeds)),
        planned=len(rows),
        protocol=f"{epochs} epochs, batches of 128, a tenth of the training data for validation.",
        smallest_effect={"mnist": 0.002},
        data={d: {"source": "a generator", "sha256": hashlib.sha256(d.encode()).hexdigest()} for d in data},
        command=f"recipebench run {name}",
    )
    environments = [
        {
            "git": {"commit": "0" * 40, "dirty": False},
            "versions": {"torch": "2.13.0", "python": "3.11.7"},
            "threads": 1,
            "command": ["recipebench", "run", name],
        }
    ]
    return Made(pd.DataFrame(rows), pd.concat(histories, ignore_index=True), suite, environments)


def _endpoint(data: str) -> Endpoint:
    if data == "synthetic_regression":
        return Endpoint(column="test_mse_at_best", direction="lower", chance=1.0)
    return Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1)


def _cell(
    data: str,
    recipe: dict[str, Choice],
    seed: int,
    epochs: int,
    draw: np.random.Generator,
    troubled: bool,
    name: str,
) -> tuple[dict[str, Any], pd.DataFrame]:
    quality = sum(EFFECTS.get(choice.name, 0.0) for choice in recipe.values()) + 0.02 * seed
    names = {choice.name for choice in recipe.values()}
    if {"sigmoid", "adagrad"} <= names:
        quality -= 0.8
    risk = [0.985, 0.003, 0.006, 0.006] if not {"momentum", "he"} <= names else [0.93, 0.06, 0.005, 0.005]
    status = str(draw.choice(STATUS, p=risk)) if troubled else "ok"
    key = repr((data, [(c.name, dict(c.parameters)) for c in recipe.values()], seed))
    cell_id = hashlib.sha256(key.encode()).hexdigest()[:16]
    row: dict[str, Any] = {"cell_id": cell_id, "suite": name, "data": data, "model": "mlp"}
    for factor, choice in recipe.items():
        row[factor] = choice.name
        row |= {f"{factor}.{k}": v for k, v in choice.parameters.items()}
    why = {"ok": None, "diverged": f"step {draw.integers(2, 900)}", "failed": "Killed\nout of memory"}
    row |= {
        "batch_size": 128,
        "epochs": epochs,
        "inputs": "unit",
        "device": "cpu",
        "seed": seed,
        "status": status,
        "reason": why.get(status, "needs a GPU"),
        "parameters": 109_386 + 100_480 * ("maxout" in names),
        "steps": 430 * epochs,
        "pack_seconds": 2.0 + draw.random(),
        "torch": "2.13.0",
        "cpu": "x86-64 AVX-512",
    }
    history = _history(data, quality, epochs, names, draw)
    stopped = epochs - 3 if "early_stopping" in names and epochs > 5 else epochs
    history = history[history["epoch"] <= stopped]
    if status == "ok":
        best = history[history["epoch"] > 0].sort_values("validation_loss", kind="stable").iloc[0]
        row |= {"best_epoch": int(best["epoch"]), "stopped_epoch": stopped}
        last = best if "early_stopping" in names else history.iloc[-1]
        measures = [c for c in history.columns if c.partition("_")[0] in ("train", "validation", "test")]
        row |= {c: last[c] for c in measures} | {f"{c}_at_best": best[c] for c in measures}
        return row, history.assign(cell_id=cell_id)
    return row, history[history["epoch"] < 2].assign(cell_id=cell_id)


def _history(
    data: str, quality: float, epochs: int, names: set[str], draw: np.random.Generator
) -> pd.DataFrame:
    epoch = np.arange(epochs + 1)
    reached = 1 - np.exp(-(0.75 + 0.35 * quality) * epoch)
    frame: dict[str, Any] = {"epoch": epoch, "seconds": 0.2 * epoch, "lr": 0.1, "fit_loss": 2.3 - 2 * reached}
    for split, gap in {"train": 0.35, "validation": 0.0, "test": 0.02}.items():
        gap = -0.3 if split == "train" and "dropout" in names else gap
        noise = 0.03 * draw.standard_normal(epochs + 1) * (epoch > 0)
        skill = quality + gap + noise
        if data == "synthetic_regression":
            frame[f"{split}_mse"] = 1.05 * np.exp(-(2.6 + 0.9 * skill) * reached)
            frame[f"{split}_loss"] = frame[f"{split}_mse"]
            frame[f"{split}_r2"] = 1 - frame[f"{split}_mse"]
        else:
            error = np.exp(-skill) * (1 - SHARES[data])
            frame[f"{split}_accuracy"] = 1 - error - (0.9 - error) * (1 - reached)
            frame[f"{split}_loss"] = 3.2 * error + 2.2 * (1 - reached)
    return pd.DataFrame(frame)


@pytest.fixture(scope="session")
def card() -> Made:
    return make()


@pytest.fixture
def make_card() -> Callable[..., Made]:
    return make


POINTS = 9
OPTIMA = {"sgd": 0.1, "adam": 0.001}
TUNING_SEEDS = (1000, 1001)


def grid(points: int = POINTS) -> list[float]:
    """1e-4 to 1, four decades."""
    return [float(f"{10 ** (4 * i / (points - 1) - 4):.12g}") for i in range(points)]


def accuracy_of(optimum: float, lr: float, beta1: float | None = None) -> float:
    """The planted curve: a parabola in log10 lr around the optimum, lower by .05 a squared decade."""
    apart = np.log10(lr / optimum)
    off = 0.0 if beta1 is None else np.log10((1 - beta1) / 0.1)
    return float(0.95 - 0.05 * apart**2 - 0.01 * off**2)


def make_tuned(
    *,
    data: tuple[str, ...] = ("digits", "mnist"),
    activations: tuple[str, ...] = ("relu", "sigmoid"),
    levels: tuple[Choice, ...] = (
        Choice("sgd", {"lr": 0.001}),
        Tuned("sgd", {}, {"lr": None}),
        Choice("adam", {"lr": 0.001, "beta1": 0.9}),
        Tuned("adam", {"beta1": 0.9}, {"lr": None}),
    ),
    seeds: tuple[int, ...] = (0, 1, 2),
    betas: tuple[float, ...] = (0.9,),
    unfinished: int = 0,
    optima: Mapping[str, float] = MappingProxyType(OPTIMA),
    targets: Targets | None = None,
    epochs: int = 4,
) -> Made:
    """Make the records of a suite that tunes optimizers, whose optimum is planted in `accuracy_of`.

    Validation lies below it by 1e-3 a data set's place and sigmoid 1e-2 below relu, tests by another 1e-2;
    seeds move everything alike. sgd diverges at lr = 1.

    Args:
        betas: the values of beta1 that are tried where it is tuned together with lr.
        unfinished: how many searches lack their last trial.
        optima: the best rate of each optimizer.
    """
    rows: list[dict[str, Any]] = []
    searches = 0
    for label, activation, level in product(data, activations, levels):
        common = {"data": label, "activation": activation, "optimizer": level.name, "epochs": epochs}
        fixed = {f"optimizer.{k}": v for k, v in level.parameters.items()}
        if not isinstance(level, Tuned):
            marks = {"role": "report", "search": None, "trial": None, "chosen": None, "optimizer.tuned": None}
            rows += [_tuned_cell(common | fixed | marks | {"seed": seed}, optima) for seed in seeds]
            continue
        points = _points(level, betas)
        whole = searches >= unfinished
        best = (
            max(range(len(points)), key=lambda i: accuracy_of(optima[level.name], **points[i]))
            if whole
            else None
        )
        searches += 1
        known = {"search": f"{searches:016x}", "optimizer.tuned": level.tuned}
        for (i, point), seed in product(enumerate(points), TUNING_SEEDS):
            values = fixed | {f"optimizer.{k}": v for k, v in point.items()}
            marks = {"role": "trial", "trial": i, "chosen": None if best is None else i == best, "seed": seed}
            lacking = best is None and i == len(points) - 1
            rows.append(_tuned_cell(common | known | values | marks, optima, lacking=lacking))
        for seed in seeds:
            values = {f"optimizer.{k}": v for k, v in points[best].items()} if best is not None else {}
            marks = {"role": "report", "trial": None, "chosen": None, "seed": seed}
            rows.append(_tuned_cell(common | known | fixed | values | marks, optima, lacking=best is None))
    records = pd.DataFrame(rows)
    records["trial"] = records["trial"].astype("Int64")
    criterion = {
        d: Endpoint(column="validation_accuracy_at_best", direction="higher", chance=0.1) for d in data
    }
    suite = SuiteInfo(
        name="tuned",
        description="Two optimizers, tuned and at their defaults.",
        endpoints={d: _endpoint(d) for d in data},
        factors={"activation": tuple(Choice(a, {}) for a in activations), "optimizer": levels},
        seeds=seeds,
        planned=len(records),
        protocol=f"{epochs} epochs.",
        smallest_effect={"mnist": 0.002},
        tuning=Tuning(
            trials=POINTS * len(betas),
            seeds=TUNING_SEEDS,
            method="log_grid",
            criterion=criterion,
            spaces=tuple(_space(level) for level in levels if isinstance(level, Tuned)),
        ),
        targets=targets,
    )
    return Made(records, _tuned_history(records), suite, [])


def _points(level: Tuned, betas: tuple[float, ...]) -> list[dict[str, float]]:
    if "beta1" in level.ranges:
        return [{"beta1": beta, "lr": lr} for beta, lr in product(betas, grid())]
    return [{"lr": lr} for lr in grid(POINTS * len(betas))]


def _space(level: Tuned) -> Space:
    known = {"lr": Range(low=1e-4, high=1.0, scale="log")}
    if "beta1" in level.ranges:
        known["beta1"] = Range(low=0.5, high=0.999, scale="one_minus_log")
    return Space(factor="optimizer", level=level.name, tuned=level.tuned, ranges=known)


def _tuned_cell(
    cell: dict[str, Any], optima: Mapping[str, float], *, lacking: bool = False
) -> dict[str, Any]:
    keys = ("data", "activation", "optimizer", "optimizer.lr", "optimizer.beta1", "seed")
    plain = repr([cell.get(key) for key in keys] + [cell["search"] if lacking else None])
    row = {
        "cell_id": hashlib.sha256(plain.encode()).hexdigest()[:16],
        "suite": "tuned",
        "model": "mlp",
        **cell,
    }
    row |= {"status": "missing" if lacking else "ok", "reason": "not tuned yet" if lacking else None}
    row |= {"torch": "2.13.0", "cpu": "x86-64 AVX-512", "device": "cpu", "parameters": 10, "steps": 40}
    if lacking:
        return row
    row["pack_seconds"] = 2.0
    if cell["optimizer"] == "sgd" and cell["optimizer.lr"] == 1.0:
        return row | {"status": "diverged", "reason": "step 3"}
    beta = cell.get("optimizer.beta1") if "beta1" in (cell["optimizer.tuned"] or "") else None
    score = accuracy_of(optima[cell["optimizer"]], cell["optimizer.lr"], beta) + 0.001 * (cell["seed"] % 7)
    score -= 0.01 * (cell["activation"] == "sigmoid") + 0.001 * (cell["data"] == "mnist")
    return row | {"validation_accuracy_at_best": score, "test_accuracy_at_best": score - 0.01}


def _tuned_history(records: pd.DataFrame) -> pd.DataFrame:
    """Halfway to the score in epoch 1, at it from epoch 3 on; losses are what is left."""
    ok = records[records["status"] == "ok"].drop_duplicates("cell_id")
    parts = []
    for epoch in range(int(records["epochs"].max()) + 1):
        share = min(1.0, (epoch + 1) / 4) if epoch else 0.1
        scores = dict.fromkeys(("train", "validation", "test"), share * ok["validation_accuracy_at_best"])
        part = {f"{s}_accuracy": v for s, v in scores.items()} | {
            f"{s}_loss": 1 - v for s, v in scores.items()
        }
        parts.append(pd.DataFrame({"cell_id": ok["cell_id"], "epoch": epoch, **part}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def tuned() -> Made:
    return make_tuned()


@pytest.fixture(name="make_tuned")
def make_tuned_fixture() -> Callable[..., Made]:
    return make_tuned
