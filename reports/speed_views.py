"""Saved runs of the speed suite as people read them: a section of the page, and two runs side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from recipebench.reports import speed
from recipebench.reports.language import N_, gettext, say
from recipebench.reports.speed import SpeedRun
from recipebench.reports.views import Group, Plot, Row, View, flat
from recipebench.reports.wording import NO_VALUE, count_of, count_range, factor_name

WITHIN = N_(
    "95\N{NO-BREAK SPACE}% interval of the sign test over passes (Conover, Practical Nonparametric "
    "Statistics, 3.2)"
)
BETWEEN = (
    "Hodges and Lehmann's estimate over passes with the 95\N{NO-BREAK SPACE}% interval of the exact rank-sum "
    "test (Hollander, Wolfe and Chicken, 4.3)"
)
PACK = "pack"
YARDSTICK = "yardstick"
MAIN = ("initialization", "step")
"""Phases whose intervals are drawn, the first that there is; else the last one."""

_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


@dataclass(frozen=True)
class Section:
    """What the page says of speed.

    Args:
        sentences: where and when it was measured, and how exactly.
        views: the tables, by the heading that stands above each.
    """

    sentences: list[str]
    views: list[tuple[str, View]]


def section(run: SpeedRun) -> Section:
    """Return a run as a section of the page: ratios inside the run, and no time to be held against others.

    Args:
        run: `speed.load` of a file.
    """
    ratios = speed.relative(run)
    found = [
        (_factor_name(factor), _factor(factor, ratios[ratios["factor"] == factor]))
        for factor in dict.fromkeys(ratios["factor"])
        if factor != YARDSTICK
    ]
    devices = speed.across_devices(run)
    if len(devices):
        found.append((gettext("devices"), _devices(devices)))
    sentences = [where(run), *_clock(run), *_exactness(ratios)]
    return Section(sentences, [*found, (gettext("machine"), machine(run))])


_FACTORS = {"pack": N_("pack"), "loader": N_("loader"), "batch_size": N_("batch_size")}
_PHASES = {
    "initialization": N_("initialization"),
    "forward": N_("forward"),
    "backward": N_("backward"),
    "step": N_("step"),
    "update": N_("update"),
    "packed update": N_("packed update"),
    "epoch": N_("epoch"),
}


def _factor_name(factor: str) -> str:
    return gettext(_FACTORS[factor]) if factor in _FACTORS else factor_name(factor)


def _phase_name(phase: str) -> str:
    return gettext(_PHASES[phase]) if phase in _PHASES else phase


def where(run: SpeedRun) -> str:
    """Say on what a run was measured, and when.

    Returns:
        One sentence.
    """
    facts = run.machine
    place = f"{facts.get('cpu_model')} ({facts.get('cpu_class')})"
    if facts.get("gpu"):
        place = gettext(" and ").join([place, str(facts["gpu"])])
    threads = facts.get("threads")
    return say(
        "Measured on {place}, {os}, Python {python}, torch {torch}, {threads}, saved {time} UTC. Times hold "
        "for this machine alone; what is compared are ratios inside this run.",
        place=place,
        os=facts.get("os"),
        python=facts.get("python"),
        torch=facts.get("torch"),
        threads=count_of(threads, "thread") if isinstance(threads, int) else gettext("unknown threads"),
        time=run.started[:16].replace("T", " "),
    )


def _clock(run: SpeedRun) -> Iterator[str]:
    """Say what the times on the processor are, and how busy it was with other work."""
    shares = run.passes.loc[run.passes["device"] == "cpu", "occupied"]
    if len(shares):
        yield say(
            "On the processor the clock is that of the process, which stands still while others have the "
            "core. The process had it for {share} of the time (median over cases and passes); with less "
            "than all, caches are disturbed, and ratios with them.",
            share=f"{100 * min(1.0, shares.median()):.0f}\N{NO-BREAK SPACE}%",
        )


def _exactness(ratios: pd.DataFrame) -> Iterator[str]:
    """Say how far equal computations differ."""
    controls, most = speed.noise(ratios)
    if controls:
        yield say(
            "{controls}, forward and backward passes that do not depend on the level, came out up to "
            "{apart} apart from the same computation of the baseline: smaller differences in these tables "
            "say nothing.",
            controls=count_of(controls, "control"),
            apart=f"{100 * (most - 1):.1f}\N{NO-BREAK SPACE}%",
        )


def _factor(factor: str, ratios: pd.DataFrame) -> View:
    phases = list(dict.fromkeys(ratios["phase"]))
    main = next((phase for phase in MAIN if phase in phases), phases[-1])
    shown = ratios[ratios["phase"] == main]
    frame = _frame(shown)
    groups = [
        Group(f"{setting}, {device}", list(_level_rows(part, phases, main, frame)))
        for (setting, device), part in ratios.groupby(["setting", "device"], sort=False)
    ]
    columns = [gettext("level"), *map(_phase_name, phases), say("{phase}, time", phase=_phase_name(main))]
    return View(
        name=f"speed-{factor}",
        caption=_caption(factor, ratios, main),
        columns=columns,
        numeric=[False, *(True for _ in columns[1:])],
        groups=groups,
        plot=tuple(f"{end:.2f}" for end in frame),
    )


def _caption(factor: str, ratios: pd.DataFrame, main: str) -> str:
    values = {
        "bases": gettext(" or ").join(dict.fromkeys(ratios["baseline"])),
        "passes": count_range(ratios["passes"].min(), ratios["passes"].max()),
        "interval": gettext(WITHIN),
        "phase": _phase_name(main),
    }
    if (ratios["members"] > 1).any():
        return say(
            "Time for one cell over that of {bases}, in the same pass and on the same device; lower is "
            "faster. Medians over n = {passes} passes of the medians of their rounds, with the {interval}. "
            "Drawn: {phase}. The last column is the time itself for one cell, on this machine.",
            **values,
        )
    return say(
        "Time over that of {bases}, in the same pass and on the same device; lower is faster. Medians over "
        "n = {passes} passes of the medians of their rounds, with the {interval}. Drawn: {phase}. The last "
        "column is the time itself, on this machine.",
        **values,
    )


def _level_rows(
    part: pd.DataFrame, phases: list[str], main: str, frame: tuple[float, float]
) -> Iterator[Row]:
    for level, cases in part.groupby("level", sort=False):
        by_phase = {case["phase"]: case for _, case in cases.iterrows()}
        found = [by_phase.get(phase) for phase in phases]
        drawn = by_phase.get(main)
        texts = [NO_VALUE if case is None else ratio(case) for case in found]
        values: list[float | None] = [None if case is None else float(case["ratio"]) for case in found]
        yield Row(
            [str(level), *texts, NO_VALUE if drawn is None else seconds(drawn["each"])],
            [None, *values, None if drawn is None else float(drawn["each"])],
            None if drawn is None or drawn["level"] == drawn["baseline"] else _plot(drawn, frame),
        )


def _devices(ratios: pd.DataFrame) -> View:
    frame = _frame(ratios)
    groups = []
    for (device, factor), part in ratios.groupby(["device", "factor"], sort=False):
        rows = [
            Row(
                [str(case["level"]), _phase_name(str(case["phase"])), str(case["setting"]), ratio(case)],
                [None, None, None, float(case["ratio"])],
                _plot(case, frame),
            )
            for _, case in part.iterrows()
        ]
        groups.append(Group(say("{data}: {what}", data=device, what=_factor_name(str(factor))), rows))
    passes = count_range(ratios["passes"].min(), ratios["passes"].max())
    return View(
        name="speed-devices",
        caption=say(
            "Time by the clock on the wall over that of the same case on the processor of this machine, in "
            "the same pass, every call synchronized; lower is faster. Medians over n = {passes} passes, "
            "with the {interval}.",
            passes=passes,
            interval=gettext(WITHIN),
        ),
        columns=[gettext("level"), gettext("part"), gettext("setting"), gettext("over cpu")],
        numeric=[False, False, False, True],
        groups=groups,
        plot=tuple(f"{end:.2f}" for end in frame),
    )


def machine(run: SpeedRun) -> View:
    """Show all that was saved of the machine."""
    rows = [Row([name, value], [None, None]) for name, value in flat(dict(run.machine))]
    return View(
        name="speed-machine",
        caption=gettext("The machine and its settings, as the run saved them; n = 1 run."),
        columns=[gettext("entry"), gettext("value")],
        numeric=[False, False],
        groups=[Group("", rows)],
    )


def comparison(a: SpeedRun, b: SpeedRun) -> Section:
    """Show how many times as long everything took in one run as in another.

    Args:
        a: the run that is divided by.
        b: the other one.

    Returns:
        What differs between the two, machines first and in capitals, and one table a factor.
    """
    found = speed.compare(a, b)
    sentences = [*_conditions(a, b), *_overall(found), *_unmatched(a, b)]
    tables = [
        (str(factor), _compared(str(factor), part)) for factor, part in found.groupby("factor", sort=False)
    ]
    return Section(sentences, tables)


def _conditions(a: SpeedRun, b: SpeedRun) -> Iterator[str]:
    other, conditions = speed.differences(a, b)
    if other:
        yield (
            f"DIFFERENT MACHINES: {_listed(other)}. Times of one say nothing of the other. Compared is each "
            "level's time over its baseline's, in the same run and on the same device."
        )
    if conditions:
        yield f"Other conditions: {_listed(conditions)}."
    if not other:
        yield (
            "Each run is one occasion: what else the machine did meanwhile is in the ratios and not in their "
            "intervals."
        )


def _listed(differences: dict[str, tuple[str, str]]) -> str:
    return "; ".join(f"{name} {first} and {second}" for name, (first, second) in differences.items())


def _overall(found: pd.DataFrame) -> Iterator[str]:
    if found.empty:
        yield "The runs have no case in common."
        return
    apart = int(((found["low"] > 1) | (found["high"] < 1)).sum())
    yield (
        f"{count_of(len(found), 'case')}: median ratio {found['ratio'].median():.3f}; {apart} of the "
        f"intervals exclude 1, each at 95\N{NO-BREAK SPACE}% by itself: about {0.05 * len(found):.0f} would "
        "if nothing had changed."
    )
    stick = found[found["factor"] == YARDSTICK]
    for _, case in stick.iterrows():
        yield f"The yardstick, a large matrix product on {case['device']}: {ratio(case)}."


def _unmatched(a: SpeedRun, b: SpeedRun) -> Iterator[str]:
    only = speed.unmatched(a, b)
    if any(only):
        yield f"Left out: {only[0]} cases that only the first run has, {only[1]} that only the second has."


def _compared(factor: str, part: pd.DataFrame) -> View:
    frame = _frame(part)
    groups = []
    for (setting, device, phase), cases in part.groupby(["setting", "device", "phase"], sort=False):
        rows = [
            Row(
                [str(case["level"]), ratio(case), f"{case['passes_a']}, {case['passes_b']}"],
                [None, float(case["ratio"]), None],
                _plot(case, frame),
            )
            for _, case in cases.iterrows()
        ]
        groups.append(Group(f"{phase}, {setting}, {device}", rows))
    of = "Time over the baseline's" if (part["of"] == speed.SHARE).all() else "Time"
    return View(
        name=f"speed-compare-{factor}",
        caption=(
            f"{of} in the second run over that in the first; below 1 it became faster. {BETWEEN}; n passes "
            "of the first and the second run."
        ),
        columns=["level", "second over first", "n"],
        numeric=[False, True, True],
        groups=groups,
        plot=tuple(f"{end:.2f}" for end in frame),
    )


def ratio(case: pd.Series[Any]) -> str:
    """Word a ratio with its interval; that of a baseline over itself is 1.

    Example:
        >>> ratio(pd.Series({"ratio": 1.234, "low": 1.1, "high": 1.3}))
        '1.23 (1.10 to 1.30)'
    """
    if case.get("level") is not None and case.get("level") == case.get("baseline"):
        return "1"
    if math.isnan(case["low"]):
        return _figures(case["ratio"])
    ends = say("{low} to {high}", low=_figures(case["low"]), high=_figures(case["high"]))
    return say("{ratio} ({interval})", ratio=_figures(case["ratio"]), interval=ends)


def _figures(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= value < 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    r"""Word a time in the unit that suits it.

    Example:
        >>> seconds(0.000638), seconds(0.0421)
        ('638\xa0µs', '42.1\xa0ms')
    """
    size, unit = next(((s, u) for s, u in _UNITS if value >= s), _UNITS[-1])
    return f"{value / size:.3g}\N{NO-BREAK SPACE}{unit}"


def _frame(ratios: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the drawings: all intervals, and 1."""
    ends = [1.0, *ratios["ratio"], *ratios["low"].dropna(), *ratios["high"].dropna()]
    margin = 0.04 * (max(ends) - min(ends)) or 0.04
    return max(0.0, min(ends) - margin), max(ends) + margin


def _plot(case: pd.Series[Any], frame: tuple[float, float]) -> Plot:
    ends = [case["ratio"] if math.isnan(case[end]) else case[end] for end in ("low", "high")]
    places = [100 * (value - frame[0]) / (frame[1] - frame[0]) for value in (ends[0], case["ratio"], ends[1])]
    return Plot(*(round(place, 2) for place in places))
