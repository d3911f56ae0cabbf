"""Writes `validity.md`: how often the verdicts of a report are wrong, and how often they find what is there.

Every figure comes from simulated blocks that go through the report's own functions.

    python docs/validity.py            100,000 simulations a setting (about 45 minutes of one core)
    python docs/validity.py --keep F   the same; what F holds from before is not simulated again
    python docs/validity.py --quick    2,000 a setting, printed and not written

Exits with 1 where a family errs more often than 5 %, by a 99 % bound of 5.5 %.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipebench.processes import usable_cores
from recipebench.reports import claims
from recipebench.reports.statistics import families, inference, scales

Floats = NDArray[np.float64]

PAGE = Path(__file__).resolve().parent / "validity.md"

SEEDS = (3, 5, 10)
DATA_SETS = tuple(range(1, 9))
LEVELS = tuple(range(2, 7))
ERRORS = ("normal", "t3", "skewed")
SHARES = (0.0, 0.2, 0.5)
DIVERGENCE = (0.0, 0.05, 0.2)
OTHERS = 4
"""Cells of each level in a block."""

UNEVEN_DATA_SETS, UNEVEN_LEVELS = (2, 4, 8), (2, 3, 6)
COVERED, COVERED_DATA_SETS = ("normal", "t3", "log loss", "logit"), (1, 2, 4, 8)
RULES, RULE_RATIOS = ("reported", "Satterthwaite alone", "Welch 1947"), (1.0, 5.0)
CLAIMS = (1, 5, 10)
SHARED = (0.0, 0.05, 0.2)

CHANCE = -10.0
"""Score of a diverged cell, in standard deviations of the others."""

TARGET, BOUND = 0.05, 0.055
CHUNK = 2_000_000
"""Numbers drawn at once."""


class Setting(NamedTuple):
    """A world in which all levels are equal.

    Args:
        seeds: a data set.
        errors: distribution of the noise, mean 0 and variance 1 (t3: variance 3).
        share: of the variance of a cell, what all cells of its level and seed have in common.
        divergence: share of the cells that diverge, all of them at one of `OTHERS` recipes.
        spreads: standard deviation of each data set; ones if empty.
    """

    seeds: int
    errors: str = "normal"
    share: float = 0.0
    divergence: float = 0.0
    spreads: tuple[float, ...] = ()


class Rate(NamedTuple):
    """How often something happened.

    Args:
        hits: number of simulations in which it did.
        of: number of simulations.
    """

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share."""
        return self.hits / self.of

    @property
    def bound(self) -> float:
        """The upper 99 % bound of the probability, by Clopper and Pearson."""
        from scipy.stats import beta  # type: ignore[import-untyped]

        return float(beta.ppf(0.99, self.hits + 1, self.of - self.hits)) if self.hits < self.of else 1.0


def noise(errors: str, shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Draw noise of mean 0: normal, Student's t of 3 degrees, or an exponential (skewness 2)."""
    if errors == "normal":
        return generator.standard_normal(shape)
    if errors == "t3":
        return np.asarray(
            generator.standard_normal(shape) / np.sqrt(generator.standard_gamma(1.5, shape) / 1.5)
        )
    return np.asarray(generator.standard_exponential(shape) - 1)


def equal_levels(
    setting: Setting, simulations: int, levels: int, data_sets: int, generator: np.random.Generator
) -> Floats:
    """Draw block means of levels that do not differ: (simulations, levels, data sets, seeds)."""
    shape = (simulations, levels, data_sets, setting.seeds)
    cells = np.sqrt(1 - setting.share) * noise(setting.errors, (*shape, OTHERS), generator)
    if setting.share:
        cells += np.sqrt(setting.share) * noise(setting.errors, shape, generator)[..., None]
    if setting.divergence:
        lost = generator.random(shape) < setting.divergence * OTHERS
        cells[..., 0] = np.where(lost, CHANCE, cells[..., 0])
    means = cells.mean(axis=-1)
    return np.asarray(means * np.asarray(setting.spreads)[:, None] if setting.spreads else means)


def family_errors(
    setting: Setting,
    simulations: int,
    generator: np.random.Generator,
    *,
    levels: Sequence[int] = LEVELS,
    data_sets: Sequence[int] = DATA_SETS,
) -> dict[tuple[int, int], Rate]:
    """Count the simulations in which any pair of equal levels gets a verdict at a smallest effect of 0.

    Returns:
        (data sets, levels) -> rate. The first of the data sets and levels of one draw make up the
        smaller settings.
    """
    hits = dict.fromkeys(itertools.product(data_sets, levels), 0)
    for size in _chunks(simulations, max(levels) * max(data_sets) * setting.seeds * OTHERS):
        means = equal_levels(setting, size, max(levels), max(data_sets), generator)
        for d, k in hits:
            hits[d, k] += int(wrong(means[:, :k, :d]).sum())
    return {key: Rate(value, simulations) for key, value in hits.items()}


def wrong(means: Floats) -> NDArray[np.bool_]:
    """Whether any pair gets a verdict: (simulations, levels, data sets, seeds) -> (simulations,).

    By the adjusted interval alone; the rules of `claims.judge` can only take a verdict away.
    """
    first, second = np.array(list(itertools.combinations(range(means.shape[1]), 2))).T
    differences = means[:, first] - means[:, second]
    estimate = inference.over_seeds(differences)
    if len(first) > 1:
        estimate = inference.at_most(estimate, inference.family_freedom(differences))
    ends = inference.interval(estimate, families.bonferroni(len(first)))
    return np.asarray((claims.decide(*ends, 0.0) != 0).any(axis=1))


def coverage(kind: str, seeds: int, data_sets: int, simulations: int, generator: np.random.Generator) -> Rate:
    """Count the 95 % intervals that cover the true difference.

    Args:
        kind: `normal` or `t3` (differences as drawn), `log loss` (log-normal losses, ratio 2) or `logit`
            (accuracies on 1,000 items about .95 and .90, spread .3 on the logit scale).
        seeds: a data set.
        data_sets: strata.
        simulations: number of intervals.
        generator: for the draws.
    """
    hits = 0
    for size in _chunks(simulations, 4 * data_sets * seeds):
        shape = (size, data_sets, seeds)
        if kind == "log loss":
            losses = [np.exp(noise("normal", shape, generator)) * scale for scale in (0.1, 0.2)]
            one, two = (scales.transform(x, "log_loss") for x in losses)
            truth = np.log(2.0)
        elif kind == "logit":
            centers = np.log([0.95 / 0.05, 0.90 / 0.10])
            one, two = (_accuracies(center, shape, generator) for center in centers)
            truth = centers[0] - centers[1]
        else:
            one, two = noise(kind, shape, generator), noise(kind, shape, generator)
            truth = 0.0
        low, high = inference.interval(inference.over_seeds(one - two))
        hits += int(((low <= truth) & (truth <= high)).sum())
    return Rate(hits, simulations)


def coverage_by(
    rule: str, seeds: int, spreads: tuple[float, ...], simulations: int, generator: np.random.Generator
) -> Rate:
    """Count the 95 % intervals that cover the true difference, normal errors, by degrees of freedom.

    Args:
        rule: `reported`; `Satterthwaite alone`, (Σ a)² / Σ a²/(n - 1) whatever the spreads; or `Welch 1947`,
            (Σ a)² / Σ a²/(n + 1) - 2, at most Σ (n - 1), and as reported where the spreads differ much.
        seeds: a data set.
        spreads: standard deviation of the block differences of each data set.
        simulations: number of intervals.
        generator: for the draws.
    """
    hits = 0
    for size in _chunks(simulations, len(spreads) * seeds):
        drawn = generator.standard_normal((size, len(spreads), seeds)) * np.asarray(spreads)[:, None]
        estimate = inference.over_seeds(drawn)
        if rule != "reported":
            _, a, n = inference.strata(drawn)
            plain = a.sum(axis=-1) ** 2 / (a**2 / (n - 1)).sum(axis=-1)
            welch = a.sum(axis=-1) ** 2 / (a**2 / (n + 1)).sum(axis=-1) - 2
            lowered = estimate.freedom < plain * (1 - 1e-9)
            welch = np.where(lowered, estimate.freedom, np.minimum(welch, (n - 1).sum(axis=-1)))
            estimate = estimate._replace(freedom=plain if rule == "Satterthwaite alone" else welch)
        low, high = inference.interval(estimate)
        hits += int(((low <= 0) & (high >= 0)).sum())
    return Rate(hits, simulations)


def found(effect: float, seeds: int, number: int, simulations: int, generator: np.random.Generator) -> Rate:
    """Count planted effects (in standard deviations of the block differences) that a family supports."""
    differences = effect + generator.standard_normal((simulations, 1, seeds))
    low, high = inference.interval(inference.over_seeds(differences), families.bonferroni(number))
    return Rate(int((claims.decide(low, high, 0.0) == 1).sum()), simulations)


def equivalence_errors(seeds: int, margin: float, simulations: int, generator: np.random.Generator) -> Rate:
    """Count claims of no difference that are supported although the difference equals the margin."""
    differences = margin + generator.standard_normal((simulations, 1, seeds))
    p = inference.equivalence_p(inference.over_seeds(differences), margin)
    return Rate(int((p <= TARGET).sum()), simulations)


def cells_as_blocks(
    seeds: int, share: float, simulations: int, generator: np.random.Generator, others: int = 60
) -> Rate:
    """Count false positives of the mistake: cells taken for independent, `share` of variance by seed."""
    hits = 0
    for size in _chunks(simulations, seeds * others):
        cells = np.sqrt(1 - share) * generator.standard_normal((size, seeds, others))
        cells += np.sqrt(share) * generator.standard_normal((size, seeds, 1))
        p = inference.p_values(inference.over_seeds(cells.reshape(size, 1, -1)))
        hits += int((p <= TARGET).sum())
    return Rate(hits, simulations)


def uneven(data_sets: int) -> Iterator[tuple[float, ...]]:
    """Spreads of data sets of which one is 3, 10 or 30 times as wide as the others."""
    for ratio in (3.0, 10.0, 30.0):
        yield (*(1.0,) * (data_sets - 1), ratio)


def _accuracies(center: float, shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    share = 1 / (1 + np.exp(-center - 0.3 * generator.standard_normal(shape)))
    return scales.transform(generator.binomial(1_000, share) / 1_000, "logit_accuracy", items=1_000)


def _chunks(simulations: int, numbers: int) -> Iterator[int]:
    size = max(1, CHUNK // numbers)
    for start in range(0, simulations, size):
        yield min(size, simulations - start)


class Job(NamedTuple):
    """One simulation, the same whichever process runs it, and when.

    Args:
        kind: of `KINDS`.
        arguments: of its function.
    """

    kind: str
    arguments: tuple[Any, ...]

    def run(self, simulations: int, seed: int) -> dict[str, int]:
        """Simulate; return the hits by name."""
        generator = np.random.default_rng([seed, zlib.crc32(repr(self).encode())])
        return KINDS[self.kind](*self.arguments, simulations, generator)


def _errors(setting: Setting, simulations: int, generator: np.random.Generator) -> dict[str, int]:
    found = family_errors(setting, simulations, generator)
    return {f"{d} {k}": rate.hits for (d, k), rate in found.items()}


def _uneven(setting: Setting, d: int, simulations: int, generator: np.random.Generator) -> dict[str, int]:
    found = family_errors(setting, simulations, generator, levels=UNEVEN_LEVELS, data_sets=(d,))
    return {str(k): rate.hits for (_, k), rate in found.items()}


def _single(work: Callable[..., Rate]) -> Callable[..., dict[str, int]]:
    return lambda *arguments: {"": work(*arguments).hits}


KINDS: dict[str, Callable[..., dict[str, int]]] = {
    "errors": _errors,
    "uneven": _uneven,
    "coverage": _single(coverage),
    "coverage by": _single(coverage_by),
    "found": _single(found),
    "equivalence": _single(equivalence_errors),
    "mistake": _single(cells_as_blocks),
}
"""What is simulated: functions of their own arguments, the number of simulations and a generator."""


def jobs() -> list[Job]:
    """Return everything that the page tells, the longest first."""
    worlds = itertools.product(SEEDS[::-1], ERRORS, SHARES, DIVERGENCE)
    listed = [Job("errors", (Setting(*world),)) for world in worlds]
    for n, d in itertools.product(SEEDS, UNEVEN_DATA_SETS):
        listed += [Job("uneven", (Setting(n, spreads=spreads), d)) for spreads in uneven(d)]
    listed += [Job("coverage", each) for each in itertools.product(COVERED, SEEDS, COVERED_DATA_SETS)]
    listed += [Job("coverage by", (rule, n, spreads)) for n, spreads in _ruled() for rule in RULES]
    listed += [Job("found", (3.0, 5, m)) for m in CLAIMS]
    listed += [Job("equivalence", (n, 3.0)) for n in SEEDS]
    return listed + [Job("mistake", (5, share)) for share in SHARED]


def _ruled() -> list[tuple[int, tuple[float, ...]]]:
    """Numbers of seeds and spreads at which degrees of freedom are compared."""
    known = itertools.product(SEEDS, UNEVEN_DATA_SETS, RULE_RATIOS)
    return [(n, (*(1.0,) * (d - 1), ratio)) for n, d, ratio in known]


Rates = Mapping[Job, Mapping[str, Rate]]


def simulate(
    simulations: int, seed: int, *, processes: int, keep: Path | None = None
) -> dict[Job, dict[str, Rate]]:
    """Run all jobs.

    Args:
        simulations: of each.
        seed: of all draws; each job has a stream of its own.
        processes: at work at the same time; they change no number.
        keep: a file of finished jobs, one a line, which are not run again.
    """
    known = _kept(keep, simulations, seed)
    left = [job for job in jobs() if job not in known]
    with ProcessPoolExecutor(processes) as pool:
        running = {pool.submit(job.run, simulations, seed): job for job in left}
        for number, done in enumerate(as_completed(running), 1):
            job = running[done]
            known[job] = done.result()
            if keep is not None:
                line = {"job": repr(job), "simulations": simulations, "seed": seed, "hits": known[job]}
                with keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            print(f"{number} of {len(left)}: {job}", file=sys.stderr, flush=True)
    return {job: {name: Rate(hits, simulations) for name, hits in known[job].items()} for job in jobs()}


def _kept(keep: Path | None, simulations: int, seed: int) -> dict[Job, dict[str, int]]:
    if keep is None or not keep.exists():
        return {}
    lines = [json.loads(line) for line in keep.read_text(encoding="utf-8").splitlines()]
    mine = {x["job"]: x["hits"] for x in lines if (x["simulations"], x["seed"]) == (simulations, seed)}
    return {job: mine[repr(job)] for job in jobs() if repr(job) in mine}


def page(rates: Rates, simulations: int, seed: int) -> tuple[str, bool]:
    """Return the page, and whether every family keeps its error.

    Args:
        rates: from `simulate`.
        simulations: of each setting.
        seed: of all draws.
    """
    errors = [(job.arguments[0], *map(int, name.split()), rate) for job, name, rate in _of(rates, "errors")]
    parts = [
        f"# Validity\n\nBy `tox run -e validity`, {simulations:,} simulations a setting, seed {seed}."
        f" Intervals: {inference.METHOD}.",
        _errors_table(errors),
        _uneven_table(rates),
        _coverage_table(rates),
        _rules_table(rates),
        _other_tables(rates),
    ]
    return "\n\n".join(parts) + "\n", all(rate.bound <= BOUND for *_, rate in errors)


def _of(rates: Rates, kind: str) -> Iterator[tuple[Job, str, Rate]]:
    for job, found in rates.items():
        if job.kind == kind:
            yield from ((job, name, rate) for name, rate in found.items())


def _percent(rate: Rate) -> str:
    return f"{100 * rate.value:.2f}"


def _errors_table(rates: Sequence[tuple[Setting, int, int, Rate]]) -> str:
    rows = []
    for n, errors, lost in itertools.product(SEEDS, ERRORS, DIVERGENCE):
        here = [
            each for each in rates if (each[0].seeds, each[0].errors, each[0].divergence) == (n, errors, lost)
        ]
        setting, d, k, rate = max(here, key=lambda each: each[3].value)
        rows.append(
            [n, errors, f"{lost:.0%}", _percent(rate), f"{100 * rate.bound:.2f}", d, k, setting.share]
        )
    head = ["seeds", "errors", "diverged", "error, %", "99 % bound", "data sets", "levels", "seed share"]
    return (
        f"## Error of a family\n\nAll pairs of equal levels, smallest effect 0: how often any of them gets a"
        f" verdict. The worst of {len(DATA_SETS)} numbers of data sets, {len(LEVELS)} of levels and"
        f" {len(SHARES)} seed shares. Target: {TARGET:.0%}, bound {BOUND:.1%}.\n\n" + _table(head, rows)
    )


def _uneven_table(rates: Rates) -> str:
    rows = []
    for n, d in itertools.product(SEEDS, UNEVEN_DATA_SETS):
        for spreads in uneven(d):
            found = rates[Job("uneven", (Setting(n, spreads=spreads), d))]
            rows.append([n, d, f"{spreads[-1]:g}", *(_percent(found[str(k)]) for k in UNEVEN_LEVELS)])
    head = ["seeds", "data sets", "times as wide", *(f"{k} levels, %" for k in UNEVEN_LEVELS)]
    return (
        "## One data set much wider than the others\n\nBeyond the target: normal errors. Expressing"
        " differences in the smallest effect of each data set makes spreads more equal.\n\n"
        + _table(head, rows)
    )


def _coverage_table(rates: Rates) -> str:
    rows = [
        [n, d, *(_percent(rates[Job("coverage", (kind, n, d))][""]) for kind in COVERED)]
        for n, d in itertools.product(SEEDS, COVERED_DATA_SETS)
    ]
    return "## Coverage of 95 % intervals\n\n" + _table(["seeds", "data sets", *COVERED], rows)


def _rules_table(rates: Rates) -> str:
    rows = [
        [
            n,
            len(spreads),
            f"{spreads[-1]:g}",
            *(_percent(rates[Job("coverage by", (rule, n, spreads))][""]) for rule in RULES),
        ]
        for n, spreads in _ruled()
    ]
    return (
        "## Coverage by degrees of freedom\n\nNormal errors, one data set as many times as wide as the"
        " others. Three seeds hardly tell which one: a rule covers too often where spreads are equal, or"
        " too seldom where they are not.\n\n" + _table(["seeds", "data sets", "times as wide", *RULES], rows)
    )


def _other_tables(rates: Rates) -> str:
    power = [
        [
            m,
            _percent(rates[Job("found", (3.0, 5, m))][""]),
            f"{100 * float(inference.power(3.0, inference.planned([1.0], 5), families.bonferroni(m))):.2f}",
        ]
        for m in CLAIMS
    ]
    equal = [[n, _percent(rates[Job("equivalence", (n, 3.0))][""])] for n in SEEDS]
    mistake = [
        [f"{share:.0%}", f"{100 * rates[Job('mistake', (5, share))][''].value:.1f}"] for share in SHARED
    ]
    return "\n\n".join(
        [
            "## Planted effects of 3 standard deviations, 5 seeds\n\n"
            + _table(["claims", "found, %", "power, %"], power),
            "## No difference, claimed at a difference equal to the margin\n\n"
            + _table(["seeds", "error, %"], equal),
            "## The mistake: cells taken for independent\n\n5 seeds of 60 cells.\n\n"
            + _table(["variance shared by seed", "false positives, %"], mistake),
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, and write the page or print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="2,000 simulations a setting, printed only")
    parser.add_argument("--simulations", type=int, default=100_000, help="of each setting")
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--processes", type=int, default=usable_cores(), help="at work at the same time")
    parser.add_argument("--keep", type=Path, help="a file of finished settings, not simulated again")
    options = parser.parse_args(arguments)
    simulations = 2_000 if options.quick else options.simulations
    rates = simulate(simulations, options.seed, processes=options.processes, keep=options.keep)
    text, kept = page(rates, simulations, options.seed)
    if options.quick:
        print(text)
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
