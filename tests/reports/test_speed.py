"""Saved runs of the speed suite: planted ratios are found, intervals hold, machines are told apart."""

from __future__ import annotations

import copy
import html
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats  # type: ignore[import-untyped]

from recipebench import reports
from recipebench.errors import RequestError
from recipebench.reports import export, speed, speed_views
from recipebench.reports.speed import SpeedRun

MACHINE: dict[str, Any] = {
    "cpu_model": "Abacus 1",
    "cpu_class": "wood-1",
    "gpu": None,
    "os": "Linux 6",
    "python": "3.11.7",
    "torch": "2.13.0",
    "threads": 1,
    "packages": {"recipebench": "0.1.0"},
    "variables": {"MKL_CBWR": "AVX2,STRICT"},
}

LEVELS = {"relu": 1.0, "tanh": 1.5, "maxout": 3.0}
"""Time of each level over that of relu."""

Save = Callable[..., Path]


def _benchmark(place: int, number: int, seconds: float, **facts: Any) -> dict[str, Any]:
    known = {"factor": "activation", "phase": "step", "device": "cpu", "setting": "8-4, batch 2"}
    known |= {"baseline": "relu", "members": 1, "control": False}
    info = {**known, **facts, "place": place, "pass": number, "occupied": 0.5}
    times = [seconds * (1 + 0.001 * k) for k in (-2, -1, 0, 1, 2)]
    return {"group": f"{info['factor']}, {info['phase']}", "extra_info": info, "stats": {"data": times}}


def _content(machine: dict[str, Any], seed: int, passes: int, scale: dict[str, float]) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(1, passes + 1):
        drift = draw.uniform(1, 3)  # what all cases of a pass have in common
        for place, (level, ratio) in enumerate(LEVELS.items()):
            seconds = 1e-3 * drift * ratio * scale.get(level, 1.0) * draw.uniform(0.99, 1.01)
            rows.append(_benchmark(place, number, seconds, level=level))
        for place, (level, members) in enumerate([("alone", 1), ("pack of 4", 4)], start=3):
            facts = {"factor": "pack", "level": level, "members": members, "baseline": "alone"}
            rows.append(_benchmark(place, number, 2e-3 * drift, **facts))
        for place, (level, seconds) in enumerate([("he", 1.0), ("xavier", 1.04)], start=5):
            facts = {"factor": "initializer", "level": level, "control": True, "baseline": "he"}
            rows.append(_benchmark(place, number, seconds * drift, **facts))
    return {"machine_info": {"recipebench": machine}, "benchmarks": rows, "datetime": "2026-01-02T03:04:05Z"}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Save a run with planted times."""
    numbers = itertools.count()

    def write(
        machine: dict[str, Any] | None = None,
        *,
        seed: int = 0,
        passes: int = 6,
        scale: dict[str, float] | None = None,
    ) -> Path:
        path = tmp_path / f"{next(numbers)}.json"
        path.write_text(json.dumps(_content(MACHINE | (machine or {}), seed, passes, scale or {})))
        return path

    return write


@pytest.fixture
def run(save: Save) -> SpeedRun:
    """A saved run."""
    return speed.load(save())


def _of(frame: pd.DataFrame, level: str) -> pd.Series[Any]:
    (row,) = (row for _, row in frame[frame["level"] == level].iterrows())
    return row


def test_a_saved_run_is_a_tidy_frame(run: SpeedRun) -> None:
    cases = run.cases

    assert cases["level"].tolist() == [*LEVELS, "alone", "pack of 4", "he", "xavier"]
    assert (cases["passes"] == 6).all()
    assert (cases["rounds"] == 30).all()
    assert (cases["machine"] == "wood-1").all()
    maxout = run.passes[run.passes["level"] == "maxout"]
    medians = [float(np.median(times)) for times in maxout["times"]]
    quartiles = np.quantile(np.concatenate(maxout["times"].tolist()), [0.25, 0.75])
    assert _of(cases, "maxout")["median"] == pytest.approx(np.median(medians))
    assert _of(cases, "maxout")["per_second"] == pytest.approx(1 / np.median(medians))
    assert _of(cases, "maxout")["iqr"] == pytest.approx(quartiles[1] - quartiles[0])


def test_planted_ratios_are_found_though_passes_drift(run: SpeedRun) -> None:
    found = speed.relative(run)

    for level, ratio in LEVELS.items():
        row = _of(found, level)
        assert row["low"] <= ratio <= row["high"]
        assert row["high"] - row["low"] < 0.05 * ratio  # the drift is threefold
    assert tuple(_of(found, "relu")[["ratio", "low", "high"]]) == (1, 1, 1)


def test_a_pack_counts_by_the_cell(run: SpeedRun) -> None:
    assert _of(speed.relative(run), "pack of 4")["ratio"] == pytest.approx(0.25)


def test_controls_say_how_exact_a_run_is(run: SpeedRun) -> None:
    assert speed.noise(speed.relative(run)) == (1, pytest.approx(1.04))
    assert speed.noise(speed.relative(run).head(3)) == (0, 1.0)


def test_a_case_that_failed_in_some_passes_is_compared_in_the_others(save: Save) -> None:
    path = save()
    content = json.loads(path.read_text())
    content["benchmarks"] = [
        b
        for b in content["benchmarks"]
        if not (b["extra_info"]["level"] == "tanh" and b["extra_info"]["pass"] < 3)
    ]
    path.write_text(json.dumps(content))

    row = _of(speed.relative(speed.load(path)), "tanh")

    assert row["passes"] == 4
    assert row["ratio"] == pytest.approx(1.5, rel=0.02)
    assert math.isnan(row["low"])


def test_devices_are_compared_case_by_case(save: Save) -> None:
    path = save()
    content = json.loads(path.read_text())
    for benchmark in content["benchmarks"][:]:
        other = copy.deepcopy(benchmark)
        other["extra_info"] |= {"device": "cuda", "place": other["extra_info"]["place"] + 100}
        other["stats"]["data"] = [seconds / 4 for seconds in benchmark["stats"]["data"]]
        content["benchmarks"].append(other)
    path.write_text(json.dumps(content))

    run = speed.load(path)
    found = speed.across_devices(run)

    assert found["ratio"].tolist() == pytest.approx([0.25] * 7)
    assert _of(speed.relative(run)[lambda f: f["device"] == "cuda"], "maxout")["ratio"] == pytest.approx(
        3, rel=0.02
    )
    assert "devices" in dict(speed_views.section(run).views)


@pytest.mark.parametrize(("n", "ends"), [(5, None), (6, (1, 6)), (8, (1, 8)), (9, (2, 8)), (25, (8, 18))])
def test_the_interval_of_a_median_has_the_ranks_of_the_tables(n: int, ends: tuple[int, int] | None) -> None:
    found = speed.median_interval(np.random.default_rng(0).permutation(np.arange(1.0, n + 1)))

    assert found.ratio == (n + 1) / 2
    assert ends == (None if math.isnan(found.low) else (found.low, found.high))


# Critical values of Mann and Whitney's U, two-sided, 5 %: tables as in Hollander, Wolfe and Chicken.
@pytest.mark.parametrize(("n", "m", "critical"), [(4, 4, 0), (5, 5, 2), (6, 6, 5), (7, 5, 5), (10, 10, 23)])
def test_the_interval_of_a_ratio_inverts_the_exact_test(n: int, m: int, critical: int) -> None:
    draw = np.random.default_rng(n * m)
    a, b = draw.lognormal(size=n), 2 * draw.lognormal(size=m)

    found = speed.ratio_interval(a, b)

    ratios = np.sort(np.divide.outer(b, a).ravel())
    assert found.low == pytest.approx(ratios[critical])
    assert found.high == pytest.approx(ratios[-1 - critical])
    for place in range(n * m - 1):
        factor = math.sqrt(ratios[place] * ratios[place + 1])
        refused = stats.mannwhitneyu(b, a * factor, method="exact").pvalue <= 0.05
        assert refused == (not found.low < factor < found.high)


def test_too_few_passes_have_no_interval() -> None:
    assert math.isnan(speed.ratio_interval([1, 2, 3], [1, 2, 3]).low)
    assert math.isnan(speed.median_interval([]).ratio)
    assert math.isnan(speed.ratio_interval([], [1.0]).ratio)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    draw = np.random.default_rng(3)
    n, ones, twos = 1500, 0, 0
    for _ in range(n):
        one = speed.median_interval(draw.lognormal(size=6))
        two = speed.ratio_interval(draw.lognormal(size=6), 3 * draw.lognormal(size=6))
        ones += one.low <= 1 <= one.high
        twos += two.low <= 3 <= two.high

    error = 4 * math.sqrt(0.05 * 0.95 / n)
    assert ones / n == pytest.approx(1 - 2 / 64, abs=error)
    assert 0.95 - error < twos / n < 0.97 + error


def test_a_planted_change_between_two_runs_is_found(save: Save) -> None:
    a, b = speed.load(save(seed=1)), speed.load(save(seed=2, scale={"tanh": 10.0}))

    found = speed.compare(a, b)

    assert (found["of"] == "time").all()
    tanh = _of(found, "tanh")
    assert tanh["low"] > 2
    assert tanh["low"] <= 10 <= tanh["high"]
    relu = _of(found, "relu")
    assert relu["low"] <= 1 <= relu["high"]
    assert (found["passes_a"] == 6).all()
    assert (found["passes_b"] == 6).all()


def test_a_run_against_itself_is_1(run: SpeedRun) -> None:
    found = speed.compare(run, run)

    assert found["ratio"].tolist() == [1] * 7
    assert ((found["low"] < 1) & (found["high"] > 1)).all()


def test_another_machine_is_said_loudly_and_its_times_are_not_compared(save: Save) -> None:
    other = {"cpu_model": "Abacus 2", "cpu_class": "wood-2"}
    fast = dict.fromkeys(LEVELS, 1e-3)
    a, b = speed.load(save(seed=1)), speed.load(save(other, seed=2, scale={**fast, "tanh": 2e-3}))

    found = speed.compare(a, b)
    text = speed_views.comparison(a, b)

    assert (found["of"] == "time over baseline").all()
    assert not {"relu", "alone", "he"} & set(found["level"])
    assert _of(found, "tanh")["ratio"] == pytest.approx(2, rel=0.03)
    assert _of(found, "maxout")["ratio"] == pytest.approx(1, rel=0.03)
    assert text.sentences[0].startswith(
        "DIFFERENT MACHINES: processor Abacus 1 and Abacus 2; class of processor wood-1 and wood-2."
    )
    assert all("baseline" in view.caption for _, view in text.views)


def test_other_conditions_on_the_same_machine_are_named(save: Save) -> None:
    more = {"torch": "2.14.0", "variables": {}, "packages": {"recipebench": "0.2.0"}}
    a, b = speed.load(save()), speed.load(save(more))

    first = speed_views.comparison(a, b).sentences[0]

    assert first == (
        "Other conditions: torch 2.13.0 and 2.14.0; MKL_CBWR AVX2,STRICT and none; "
        "recipebench 0.1.0 and 0.2.0."
    )
    assert (speed.compare(a, b)["of"] == "time").all()


def test_cases_that_only_one_run_has_are_counted(save: Save) -> None:
    path = save()
    content = json.loads(path.read_text())
    content["benchmarks"] = [b for b in content["benchmarks"] if b["extra_info"]["level"] != "tanh"]
    path.write_text(json.dumps(content))
    a, b = speed.load(save()), speed.load(path)

    assert speed.unmatched(a, b) == (1, 0)
    assert (
        speed_views.comparison(a, b).sentences[-1]
        == "Left out: 1 cases that only the first run has, 0 that only the second has."
    )


def test_the_section_has_a_table_for_each_factor(run: SpeedRun) -> None:
    section = speed_views.section(run)

    assert [heading for heading, _ in section.views] == ["activation", "pack", "initializer", "machine"]
    view = dict(section.views)["activation"]
    assert view.columns == ["level", "step", "step, time"]
    assert [row.texts[0] for row in view.rows] == list(LEVELS)
    assert view.rows[0].texts[1] == "1"
    assert "n = 6 passes" in view.caption
    plots = [row.plot for row in view.rows]
    assert plots[0] is None
    assert all(plot and 0 <= plot.low <= plot.mean <= plot.high <= 100 for plot in plots[1:])
    assert all(len(row.texts) == len(row.values) == len(view.columns) for row in view.rows)
    for _, each in section.views:
        assert export.markdown(each)
        assert export.tex(each)


def test_the_section_says_machine_clock_and_exactness(run: SpeedRun) -> None:
    machine, clock, exactness = speed_views.section(run).sentences

    assert "Abacus 1 (wood-1)" in machine
    assert "1 thread," in machine
    assert "for 50\N{NO-BREAK SPACE}% of the time" in clock
    assert "1 control" in exactness
    assert "4.0\N{NO-BREAK SPACE}%" in exactness


def test_the_newest_run_is_found_by_its_name(tmp_path: Path) -> None:
    assert speed.newest(tmp_path) is None
    for name in ("20260102T000000Z-b.json", "20260103T000000Z-a.json", "notes.txt"):
        (tmp_path / name).touch()

    found = speed.newest(tmp_path)

    assert found is not None
    assert found.name == "20260103T000000Z-a.json"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.pop("machine_info"), "expected a run that"),
        (lambda c: c["machine_info"].update(recipebench=3), "a machine, got none"),
        (lambda c: c.update(benchmarks=[]), "at least one case"),
        (lambda c: c["benchmarks"][0]["stats"].update(data=[0.0]), "times above 0"),
        (lambda c: c["benchmarks"][0]["stats"].update(data=[]), "times above 0"),
        (lambda c: c["benchmarks"][0]["stats"].update(data="fast"), "expected a run that"),
        (lambda c: c["benchmarks"][0]["extra_info"].update(members=0), "at least 1 member"),
        (lambda c: c["benchmarks"][0]["extra_info"].update(members="2"), "members: expected int"),
        (lambda c: c["benchmarks"][0]["extra_info"].pop("level"), "level"),
    ],
)
def test_other_content_is_refused(save: Save, change: Callable[[Any], Any], expected: str) -> None:
    path = save()
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))

    with pytest.raises(RequestError, match=expected):
        speed.load(path)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_bytes(b'{"machine_info": \xff')
    (tmp_path / "list.json").write_text("[]")

    with pytest.raises(RequestError, match="cannot be parsed"):
        speed.load(tmp_path / "cut.json")
    with pytest.raises(RequestError, match="expected a run that"):
        speed.load(tmp_path / "list.json")
    with pytest.raises(RequestError, match="cannot be read"):
        speed.load(tmp_path / "none.json")


def test_a_report_that_is_told_of_a_run_has_a_section_and_its_tables(
    card: Any, save: Save, tmp_path: Path
) -> None:
    path, out = save(), tmp_path / "report"

    with_speed = reports.write(*_parts(card, out), path).read_text(encoding="utf-8")
    key = json.loads((out / "report.json").read_text())["inputs"]
    without = reports.write(*_parts(card, tmp_path / "other")).read_text(encoding="utf-8")

    sentences = speed_views.section(speed.load(path)).sentences
    assert '<section id="speed"' in with_speed
    assert '<a href="#speed">' in with_speed
    assert all(html.escape(sentence, quote=False) in with_speed for sentence in sentences)
    assert (out / "tables" / "speed.csv").is_file()
    assert (out / "tables" / "speed-activation.tex").is_file()
    assert '"speed"' not in without
    assert '"#speed"' not in without
    assert json.loads((tmp_path / "other" / "report.json").read_text())["inputs"] != key


def _parts(card: Any, out: Path) -> tuple[Any, ...]:
    return card.records, card.history, card.suite, out, card.environments
