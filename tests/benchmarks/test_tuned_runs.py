"""Tuned suites trained for real: trials first, a choice by validation, then the cells that are reported."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import recipebench as rb
from recipebench.benchmarks.agenda import agenda
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite
from recipebench.errors import RequestError
from recipebench.reports.statistics import tuning


def rate(low: float, high: float) -> dict[str, Any]:
    return {"lr": {"tune": {"low": low, "high": high, "trials": 5, "search": "log_grid"}}}


SUITE: dict[str, Any] = {
    "name": "tuned",
    "data": ["digits"],
    "model": {"mlp": {"hidden": [16]}},
    "matrix": {"optimizer": ["sgd", {"sgd": rate(1e-3, 10)}, {"adam": rate(1e-5, 0.1)}]},
    "seeds": 2,
    "tuning": {"seeds": 2},
    "protocol": {"epochs": 3, "batch_size": 64},
    "time_to_target": {"share": 0.8},
}
TRIALS, REPORTED = 2 * 5 * 2, 3 * 2
POISON = """
import torch
from recipebench.datamodules.base import TensorDataModule
if not hasattr(TensorDataModule, "clean"):
    TensorDataModule.clean = TensorDataModule._divide
    def poisoned(self, *loaded):
        splits = TensorDataModule.clean(self, *loaded)
        test = splits["test"]
        targets = test.targets.clone()
        targets[test.indices] = targets[test.indices].roll(7)
        splits["test"] = type(test)(test.inputs, targets, test.indices)
        return splits
    TensorDataModule._divide = poisoned
"""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("tuned") / "runs"
    rb.run(SUITE, store=store, workers=1, quiet=True)
    return store


@pytest.fixture
def changeable(tuned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tuned, tmp_path / "copy"))


def records_of(store: Path, suite: dict[str, Any] = SUITE) -> pd.DataFrame:
    return rb.load(store, suite).records


def choices(store: Path, suite: dict[str, Any] = SUITE) -> dict[str, Any]:
    courses = agenda(load_suite(suite)).courses
    return {course.search.id: Store(store).choice(course.search.id) for course in courses}


def test_every_planned_row_is_there_with_its_role(tuned: Path) -> None:
    records = records_of(tuned)

    assert records["role"].value_counts().to_dict() == {"trial": TRIALS, "report": REPORTED}
    assert set(records["status"]) <= {"ok", "diverged"}
    trials, reported = (records[records["role"] == role] for role in ("trial", "report"))
    assert set(trials["seed"]) == {1_000_000, 1_000_001}
    assert set(reported["seed"]) == {0, 1}
    assert reported["optimizer.tuned"].isna().sum() == 2
    assert set(reported["optimizer.tuned"].dropna()) == {"lr"}
    assert reported["trial"].isna().all()
    assert (
        trials.groupby("search")["trial"].agg(["min", "max", "nunique"]).to_numpy().tolist()
        == [[0, 4, 5]] * 2
    )


def test_the_choice_is_the_best_mean_validation_score(tuned: Path) -> None:
    records = records_of(tuned)
    trials = records[records["role"] == "trial"]

    for search, mine in trials.groupby("search"):
        scores = mine.assign(score=mine["validation_accuracy_at_best"].astype(float).fillna(0.1))
        table = scores.pivot(index="trial", columns="seed", values="score")
        best = tuning.choose(table.to_numpy())
        assert set(mine.loc[mine["chosen"], "trial"]) == {best.position}
        rates = mine.loc[mine["chosen"], "optimizer.lr"].unique()
        reported = records[(records["role"] == "report") & (records["search"] == search)]
        assert list(reported["optimizer.lr"]) == [rates[0]] * 2


def test_choices_were_written_before_what_they_are_reported_with(tuned: Path) -> None:
    records = records_of(tuned).set_index("cell_id")
    written = [path.stat().st_mtime_ns for path in (tuned / "choices").glob("*.json")]
    store = Store(tuned)
    sequence = {cell: place.pack.sequence for cell, place in store._places().items()}
    trials = [sequence[cell] for cell in records.index[records["role"] == "trial"]]
    chosen = records.index[(records["role"] == "report") & records["search"].notna()]

    assert len(written) == 2
    assert max(trials) < min(sequence[cell] for cell in chosen)
    shards = [store._places()[cell].shard.id for cell in chosen]
    assert max(written) < min((tuned / "shards" / f"{name}.json").stat().st_mtime_ns for name in shards)


def test_a_second_run_trains_and_chooses_nothing(changeable: Path) -> None:
    before = {path: path.read_bytes() for path in changeable.glob("choices/*")}
    digest = Store(changeable).digest()

    again = rb.run(SUITE, store=changeable, workers=1, quiet=True)

    assert again.equals(records_of(changeable))
    assert Store(changeable).digest() == digest
    assert {path: path.read_bytes() for path in changeable.glob("choices/*")} == before


def test_a_run_that_was_stopped_before_it_chose_goes_on_alike(changeable: Path) -> None:
    before = {path: path.read_bytes() for path in changeable.glob("choices/*")}
    for path in before:
        path.unlink()
    halfway = records_of(changeable)
    waiting = halfway[(halfway["role"] == "report") & halfway["search"].notna()]
    assert set(waiting["reason"]) == {"not tuned yet: 10 of 10 trials are done"}
    assert waiting["optimizer.lr"].isna().all()
    assert waiting["cell_id"].str.startswith("open-").all()

    rb.run(SUITE, store=changeable, workers=1, quiet=True)

    assert {path: path.read_bytes() for path in changeable.glob("choices/*")} == before


def test_cells_alone_and_in_packs_choose_alike(tuned: Path, tmp_path: Path) -> None:
    rb.run(SUITE, store=tmp_path / "alone", workers=1, pack_size=1, quiet=True)

    assert choices(tmp_path / "alone") == choices(tuned)
    assert Store(tmp_path / "alone").digest() == Store(tuned).digest()


def test_a_poisoned_test_set_leaves_every_selection_as_it_was(
    tuned: Path, tmp_path: Path, worker_script: Callable[[str], None]
) -> None:
    worker_script(POISON)

    rb.run(SUITE, store=tmp_path / "poisoned", workers=1, quiet=True)

    clean, poisoned = records_of(tuned), records_of(tmp_path / "poisoned")
    assert choices(tmp_path / "poisoned") == choices(tuned)
    assert poisoned["cell_id"].equals(clean["cell_id"])
    assert poisoned["best_epoch"].equals(clean["best_epoch"])
    learned = clean["test_accuracy_at_best"] > 0.7
    assert learned.sum() >= 4
    assert (poisoned.loc[learned, "test_accuracy_at_best"] < 0.2).all()


def test_a_trial_that_fails_leaves_its_recipe_untuned_with_the_reason(
    tmp_path: Path, worker_script: Callable[[str], None]
) -> None:
    worker_script(
        "if any(c.optimizer.name == 'adam' and c.optimizer.parameters['lr'] == 0.1 for c in cells):\n"
        "    raise ValueError('broken')"
    )

    records = rb.run(SUITE, store=tmp_path / "runs", workers=1, quiet=True)

    assert list(records.loc[records["status"] == "failed", "reason"].unique()) == ["ValueError: broken"]
    missing = records[records["status"] == "missing"]
    assert set(missing["reason"]) == {"not tuned yet: 8 of 10 trials are done"}
    assert set(missing["optimizer"]) == {"adam"}
    assert len(missing) == 2
    sgd = records[(records["optimizer"] == "sgd") & (records["role"] == "report")]
    assert set(sgd["status"]) == {"ok"}


def test_rounds_are_planned_one_after_the_other(tmp_path: Path) -> None:
    tune = {"low": 1e-3, "high": 10, "trials": 6, "search": "coarse_to_fine", "rounds": 3}
    suite = {**SUITE, "matrix": {"optimizer": [{"sgd": {"lr": {"tune": tune}}}]}, "tuning": {"seeds": 1}}

    records = rb.run(suite, store=tmp_path / "runs", workers=1, quiet=True)

    assert list(records["role"]) == ["trial"] * 6 + ["report"] * 2
    assert set(records["status"]) == {"ok"}
    rates = records.loc[records["role"] == "trial", "optimizer.lr"].tolist()
    assert len(set(rates)) == 6


def test_a_choice_that_equals_the_default_is_trained_once_and_told_twice(tmp_path: Path) -> None:
    tune = {"low": 1e-7, "high": 0.1, "trials": 2, "search": "grid"}
    suite = {
        **SUITE,
        "matrix": {"optimizer": ["sgd", {"sgd": {"lr": {"tune": tune}}}]},
        "tuning": {"seeds": 1},
        "protocol": {"epochs": 1, "batch_size": 64},
    }

    records = rb.run(suite, store=tmp_path / "runs", workers=1, quiet=True)

    reported = records[records["role"] == "report"]
    assert set(reported["optimizer.lr"]) == {0.1}
    assert reported["cell_id"].nunique() == 2
    assert len(reported) == 4


def test_a_damaged_choice_is_refused_and_said_how_to_mend(changeable: Path) -> None:
    path = next((changeable / "choices").glob("*.json"))
    path.write_text(path.read_text().replace('"trial": ', '"trial": 1'))

    with pytest.raises(RequestError, match=r"is damaged: its SHA-256 is not the one that it names\. Remove"):
        rb.load(changeable, SUITE)


def test_the_command_says_what_waits_and_verifies_trials_too(
    tuned: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    file = tmp_path / "tuned.yaml"
    file.write_text(yaml.safe_dump(SUITE))

    planned = command("run", file, "--store", tmp_path / "none", "--dry-run")
    checked = command("verify", file, "--store", tuned, "--sample", "3")

    assert "26 cells planned, 0 in the store, 22 to train, 4 after their rates are chosen" in planned.out
    assert checked.out == "verified 3 of 26 cells: 3 equal, 0 differ\n"


def test_a_device_that_is_absent_leaves_rows_that_say_so(tmp_path: Path) -> None:
    suite = {**SUITE, "device": "gpu:7"}

    records = rb.run(suite, store=tmp_path / "runs", workers=1, quiet=True)

    assert set(records["status"]) == {"missing"}
    assert len(records) == TRIALS + REPORTED
    waiting = records[(records["role"] == "report") & records["search"].notna()]
    assert set(waiting["reason"]) == {"not tuned yet: 0 of 10 trials are done"}
