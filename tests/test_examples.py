"""The pages in docs/examples: every sentence on top, derived again from the records by other means.

Here are only textbook formulas, written out: nothing of what `recipebench.reports` computes is used but
the frame of cells, in which levels have their labels and every cell its score.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats  # type: ignore[import-untyped]

import recipebench as rb
from recipebench.levels import Choice, Tuned
from recipebench.reports.suite_info import RegisteredClaim, SuiteInfo

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted((DOCS / "examples").glob("*.html"))
FACTORS = ("model", "activation", "initializer", "regularizer", "optimizer", "loss", "schedule")
PROTOCOL = ("augmentation", "batch_size", "epochs", "train_samples", "label_noise", "sampling", "device")
LARGEST = 3_000_000
"""Bytes of a page."""

SHARES = ("accuracy",)
LOSSES = ("mse", "loss")

NUMBER = r"(-?[\d,]*\.?\d+(?:e[+-]\d+)?|∞)"
UNIT = r"(?:\xa0%| points)?"

pytestmark = pytest.mark.skipif(
    not (DOCS / "runs").exists(), reason="the store docs/runs is not in this checkout"
)


class Sentences(HTMLParser):
    """The items of the lists of sentences, by the section that they stand in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self._section, self._listed, self._text = "", False, None
        self.feed(html)

    _text: str | None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "section":
            self._section = known.get("id") or ""
        elif tag == "ul":
            self._listed = known.get("class") == "headline"
        elif tag == "li" and self._listed:
            self._text = ""

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "li" and self._text is not None:
            self.found.setdefault(self._section, []).append(" ".join(self._text.split(" ")))
            self._text = None


@dataclass(frozen=True)
class Example:
    """A page and what it was made of."""

    sentences: dict[str, list[str]]
    records: pd.DataFrame
    cells: pd.DataFrame
    info: SuiteInfo

    def on(self, data: str) -> pd.DataFrame:
        return self.cells[self.cells["data"] == data]


@cache
def example(page: Path) -> Example:
    loaded = rb.load(DOCS / "runs", page.stem)
    assert loaded.info is not None
    sentences = Sentences(page.read_text(encoding="utf-8")).found
    return Example(sentences, loaded.records, loaded.cells, loaded.info)


def value(text: str) -> float:
    return math.inf if text == "∞" else float(text.replace(",", ""))


def told(expected: float, text: str, per: float = 1.0) -> bool:
    """Whether a number is told as it is, to the digits that are shown."""
    mantissa, _, exponent = text.partition("e")
    step = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(expected * per - value(text)) <= 0.5 * step * (1 + 1e-6)


def t_ends(mean: float, error: float, freedom: float, level: float = 0.95) -> tuple[float, float]:
    width = error * float(stats.t.ppf(0.5 + level / 2, freedom))
    return mean - width, mean + width


def compared(here: pd.DataFrame) -> list[str]:
    return [name for name in (*FACTORS, *PROTOCOL) if name in here and here[name].nunique(dropna=False) > 1]


# Which recipe validation chooses


def recipes(found: Example, data: str) -> pd.DataFrame:
    """One row a recipe on a data set, best validation first: its labels, and its scores by seed.

    Only those that can be chosen: with all seeds, and not the default of a level that was also tuned.
    """
    here = found.on(data)
    names = compared(here)
    groups = here.groupby(names, observed=True) if names else [((), here)]
    rows = [{**dict(zip(names, key, strict=True)), **_recipe(found, data, cells)} for key, cells in groups]
    table = pd.DataFrame(rows)
    tuned = set(table.loc[table["tuned"], "optimizers"])
    table = table[
        (table["seeds"] == table["seeds"].max()) & (table["tuned"] | ~table["optimizers"].isin(tuned))
    ]
    higher = found.info.criterion(data).direction == "higher"
    return table.sort_values("chosen_by", ascending=not higher, kind="stable")


def _recipe(found: Example, data: str, cells: pd.DataFrame) -> dict[str, Any]:
    mine = found.records[found.records["cell_id"].isin(cells["cell_id"])]
    tuned = "search" in mine and bool(mine["search"].notna().all())
    judged = mine
    if tuned:
        trials = found.records[found.records["search"] == mine["search"].iloc[0]]
        judged = trials[(trials["role"] == "trial") & trials["chosen"].fillna(value=False).astype(bool)]
    by_seed = {int(seed): float(s.mean()) for seed, s in cells.groupby("seed")["score"] if s.notna().all()}
    return {
        "chosen_by": float(_criterion(found, data, judged).mean()),
        "tuned": tuned,
        "optimizers": str(mine["optimizer"].iloc[0]),
        "scores": np.array([by_seed[seed] for seed in sorted(by_seed)]),
        "seeds": len(by_seed),
    }


def _criterion(found: Example, data: str, records: pd.DataFrame) -> pd.Series[float]:
    goal = found.info.criterion(data)
    scored = records[goal.column].astype(float)
    return scored.where(np.isfinite(scored) & (records["status"] == "ok"), goal.chance)


def interval(values: np.ndarray, measure: str) -> tuple[float, float]:
    """A t interval; on the logit scale for shares and the log scale for losses, by the delta method."""
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))
    freedom = len(values) - 1
    if measure in SHARES and 0 < mean < 1:
        low, high = t_ends(math.log(mean / (1 - mean)), error / (mean * (1 - mean)), freedom)
        return 1 / (1 + math.exp(-low)), 1 / (1 + math.exp(-high))
    if measure in LOSSES and mean > 0:
        low, high = t_ends(math.log(mean), error / mean, freedom)
        return math.exp(low), math.exp(high)
    return t_ends(mean, error, freedom)


CHOSEN = re.compile(
    rf"On (?P<data>\S+) validation chooses (?P<names>.+?)(?: \([^()]* rates?[^()]*\))?: its "
    rf"(?P<goal>[\w ²-]+) is (?P<mean>{NUMBER}){UNIT} \((?:no interval, (?P<one>\d+) seeds?|"
    rf"95\xa0% interval (?P<low>{NUMBER}) to (?P<high>{NUMBER}), (?P<seeds>\d+) seeds)\)"
    r"(?P<fresh>, on seeds that chose nothing)?\."
)
TIED = re.compile(
    r"(?P<count>\d+) recipes share the best validation score; this is the first of them as declared\."
)
LEAD = re.compile(
    rf"Its lead over the runner-up, (?P<names>.+?), is (?P<lead>{NUMBER}){UNIT}"
    rf"(?: \(95\xa0% interval over seeds (?P<low>{NUMBER}) to (?P<high>{NUMBER})\))?; that lead was put to "
    r"no registered test\."
)
WIDEST = re.compile(
    rf"Averaged over all else, the levels of (?P<factor>[\w.]+) lie furthest apart there: (?P<apart>{NUMBER})"
    r"(?: points)? between (?P<lowest>.+) \(lowest\) and (?P<highest>.+) \(highest\)\."
)
MOST = re.compile(r"What mattered most, by the share of variance that it explains \(ω²\): (?P<told>[^.]+)\.")


def check_data_set(found: Example, sentence: str) -> None:
    """Everything that is told of one data set."""
    chosen = CHOSEN.match(sentence)
    assert chosen, sentence
    data = chosen["data"]
    measure = found.info.endpoints[data].measure
    per = 100.0 if measure in SHARES else 1.0
    higher = found.info.endpoints[data].direction == "higher"
    ranked = recipes(found, data)
    first = ranked.iloc[0]
    assert_names(chosen["names"], first, compared(found.on(data)))
    assert told(first["scores"].mean(), chosen["mean"], per), sentence
    assert int(chosen["one"] or chosen["seeds"]) == first["seeds"]
    assert bool(chosen["fresh"]) == bool(ranked["tuned"].all())
    if chosen["low"]:
        ends = interval(first["scores"], measure)
        assert told(ends[0], chosen["low"], per), (sentence, ends)
        assert told(ends[1], chosen["high"], per), (sentence, ends)
    rest = sentence[chosen.end() :].strip()
    tied = int((ranked["chosen_by"] == first["chosen_by"]).sum())
    if alike := TIED.match(rest):
        assert int(alike["count"]) == tied
        rest = rest[alike.end() :].strip()
    else:
        assert tied == 1, sentence
    if len(ranked) > 1:
        rest = check_lead(ranked, rest, compared(found.on(data)), per if higher else -per)
    for pattern, check in ((WIDEST, check_widest), (MOST, check_most)):
        if part := pattern.fullmatch(rest):
            check(found, data, part, per)
            rest = ""
    assert rest == ""


def check_lead(ranked: pd.DataFrame, rest: str, names: list[str], per: float) -> str:
    lead = LEAD.match(rest)
    assert lead, rest
    first, second = ranked.iloc[0], ranked.iloc[1]
    apart = (first["scores"] - second["scores"]) * math.copysign(1.0, per)
    assert_names(lead["names"], second, names)
    assert told(apart.mean(), lead["lead"], abs(per)), rest
    if lead["low"]:
        error = float(apart.std(ddof=1)) / math.sqrt(len(apart))
        for end, text in zip(
            t_ends(apart.mean(), error, len(apart) - 1), (lead["low"], lead["high"]), strict=True
        ):
            assert told(end, text, abs(per)), (rest, end)
    return rest[lead.end() :].strip()


def check_widest(found: Example, data: str, part: re.Match[str], per: float) -> None:
    here = found.on(data)
    spans = {}
    for factor in compared(here):
        by_seed = here.groupby([factor, "seed"], observed=True)["score"].mean()
        means = by_seed.groupby(level=0, observed=True).mean()
        spans[factor] = (means.max() - means.min(), str(means.idxmin()), str(means.idxmax()))
    widest = max(spans, key=lambda factor: spans[factor][0])
    assert (part["factor"], part["lowest"], part["highest"]) == (widest, *spans[widest][1:])
    assert told(spans[widest][0], part["apart"], per)


def check_most(found: Example, data: str, part: re.Match[str], per: float) -> None:
    shares = omega_squared(found.on(data))
    single = sorted((n for n in shares if " × " not in n), key=lambda name: -shares[name])
    text, _, joint = part["told"].partition("; ")
    first, _, others = text.partition(", then ")
    for name, words in zip(single[:3], [first, *others.split(" and ")] if others else [first], strict=False):
        assert words.startswith(name), (words, single)
        assert told(max(shares[name], 0.0), re.findall(rf"{NUMBER}\xa0%", words)[0], 100)
    pairs = sorted((n for n in shares if " × " in n and shares[n] > 0.05), key=lambda name: -shares[name])
    assert bool(joint) == bool(pairs)
    if pairs:
        assert joint.startswith(pairs[0])
        assert told(shares[pairs[0]], re.findall(rf"{NUMBER}\xa0%", joint)[0], 100)


def omega_squared(here: pd.DataFrame) -> dict[str, float]:
    """ω² of every factor and pair in a balanced crossing with seeds as blocks, from sums of squares."""
    names = compared(here)
    frame = here[[*names, "seed", "score"]].astype(dict.fromkeys(names, str))
    grand, size = frame["score"].mean(), len(frame)
    total = float(((frame["score"] - grand) ** 2).sum())
    squares: dict[str, tuple[float, int]] = {}
    for name in [*names, "seed"]:
        means = frame.groupby(name)["score"].transform("mean")
        squares[name] = float(((means - grand) ** 2).sum()), frame[name].nunique() - 1
    for one, two in itertools.combinations(names, 2):
        means = frame.groupby([one, two])["score"].transform("mean")
        within = float(((means - grand) ** 2).sum()) - squares[one][0] - squares[two][0]
        squares[f"{one} × {two}"] = within, squares[one][1] * squares[two][1]
    freedom = size - 1 - sum(df for _, df in squares.values())
    error = (total - sum(ss for ss, _ in squares.values())) / freedom
    return {n: (ss - df * error) / (total + error) for n, (ss, df) in squares.items() if n != "seed"}


def assert_names(text: str, row: pd.Series[Any], names: list[str]) -> None:
    """A recipe is told by all of its labels, in any words around them."""
    for name in names:
        label = str(row[name])
        assert label in text or label == "none", (text, name, label)


def check_counts(found: Example, sentence: str) -> None:
    """What was planned and how it ended, trials and all."""
    kept = found.records
    ended = [f"{(kept['status'] == name).sum():,} {name}" for name in ("ok", "diverged", "failed", "missing")]
    seeds = found.cells["seed"].nunique()
    trials = ""
    if found.info.tuning is not None:
        tried = kept[kept["role"] == "trial"]
        trials = (
            f", {len(tried):,} of them trials of {tried['search'].nunique()} searches on "
            f"{tried['seed'].nunique()} seeds of their own"
        )
    assert sentence == (
        f"{len(kept):,} training runs (cells) planned on {kept['data'].nunique()} data sets with {seeds} "
        f"seed{'s' * (seeds > 1)}{trials}: {' + '.join(ended)}."
    )


# Verdicts

COUNTED = re.compile(
    r"(\d+) claims? (?:was|were) registered in the suite: (\d+) supported, (\d+) refuted, "
    r"(\d+) inconclusive\."
)
BRIEF = re.compile(
    rf"(?P<name>.+) \((?P<mean>{NUMBER}) smallest effects?, (?P<low>{NUMBER}) to (?P<high>{NUMBER})\)"
)
LONG = re.compile(
    rf"The difference is (?P<mean>{NUMBER}) smallest effects? \(adjusted (?P<level>{NUMBER})\xa0% interval "
    rf"(?P<low>{NUMBER}) to (?P<high>{NUMBER})\) on (?P<places>[\w, ]+): (?P<each>[^.]*(?:\.\d[^.]*)*)\."
)
EACH = re.compile(
    rf"(?P<data>\w+) (?P<size>{NUMBER}) points (?P<way>better|worse) \(errors × (?P<ratio>{NUMBER}), "
    rf"smallest effect (?P<smallest>{NUMBER}) points\)"
)
NONE = (
    "The suite registered no claim: nothing here was put to a registered test, and comparisons of levels are "
    "exploratory."
)


def blocks(found: Example, claim: RegisteredClaim, data: str, *, errors: bool) -> np.ndarray:
    """First − second of a claim on a data set, one a seed: paired by all else, then averaged."""
    here, names = found.on(data), [name for name in FACTORS if name in found.cells]
    for axis, wanted in claim.where.items():
        here = here[here[axis].astype(str).isin([label(found, axis, one) for one in wanted])]
    score = here["score"].astype(float)
    if errors:
        score = -np.log(1 - score + 0.5 / found.info.items[data])
    here = here.assign(value=score)
    others = [name for name in names if name != claim.axis]
    sides = []
    for side in (claim.first, claim.second):
        mine = here[here[claim.axis].astype(str) == label(found, claim.axis, side[0])]
        sides.append(mine.set_index([*(mine[name].astype(str) for name in others), "seed"])["value"])
    apart = (sides[0] - sides[1]).rename_axis([*others, "seed"])
    assert len(apart) == len(sides[0]) == len(sides[1])
    return apart.groupby("seed").mean().to_numpy()


def label(found: Example, axis: str, level: Any) -> str:
    """The label of a level, which the frame of cells has for it."""
    assert isinstance(level, Choice)
    if isinstance(level, Tuned):
        return f"{level.name} (tuned {', '.join(sorted(level.ranges))})"
    return level.name


def unit(found: Example, data: str) -> float:
    """The smallest effect on the scale of log errors, from the declared reference."""
    reference, smallest = found.info.reference[data], found.info.smallest_effect[data]
    return math.log(1 - reference) - math.log(1 - reference - smallest)


@dataclass(frozen=True)
class Derived:
    """What a claim's blocks say, in smallest effects."""

    mean: float
    low: float
    high: float
    error: float
    freedom: float
    flips: bool


def strata(found: Example, claim: RegisteredClaim) -> list[np.ndarray]:
    """The blocks of a claim in smallest effects, one array a data set."""
    return [blocks(found, claim, c.name, errors=True) / unit(found, c.name) for c in claim.data]


def shares(each: list[np.ndarray]) -> np.ndarray:
    """What each data set contributes to the variance of the mean."""
    parts = np.array([d.var(ddof=1) / len(d) for d in each])
    return parts / parts.sum()


def derive(found: Example, claim: RegisteredClaim, level: float) -> Derived:
    """Welch and Satterthwaite's t interval over blocks, data sets as strata.

    Freedom is no more than the family's shares of variance allow, and small where spreads differ much.
    """
    each = strata(found, claim)
    means = np.array([d.mean() for d in each])
    parts = np.array([d.var(ddof=1) / len(d) for d in each]) / len(each) ** 2
    family = np.mean([shares(strata(found, c)) for c in found.info.claims if c.data == claim.data], axis=0)
    freedom = min(
        1 / sum(share**2 / (len(d) - 1) for share, d in zip(of, each, strict=True))
        for of in (shares(each), family)
    )
    if len(each) > 1 and cochran(each) < 0.2:
        freedom = min(freedom, min(len(d) for d in each) - 1)
    low, high = t_ends(means.mean(), math.sqrt(parts.sum()), freedom, level)
    flips = bool((means > 0).any() and (means < 0).any())
    return Derived(float(means.mean()), low, high, math.sqrt(parts.sum()), freedom, flips)


def detectable(expected: Derived, level: float) -> float:
    """The true difference, above the smallest effect, whose interval lies above it in 80 of 100 runs."""
    critical = float(stats.t.ppf(0.5 + level / 2, expected.freedom))
    shift = optimize.brentq(lambda nc: stats.nct.sf(critical, expected.freedom, nc) - 0.8, 0.0, 50.0)
    return float(shift) * expected.error


def cochran(each: list[np.ndarray]) -> float:
    """p of Cochran's C test that the largest variance is no outlier (upper bound by Bonferroni)."""
    spreads = [float(d.var(ddof=1)) for d in each]
    k, n = len(each), len(each[0])
    c = max(spreads) / sum(spreads)
    f = (k - 1) * c / (1 - c) if c < 1 else math.inf
    return min(1.0, k * float(stats.f.sf(f, n - 1, (k - 1) * (n - 1))))


def check_verdicts(found: Example, brief: list[str], long: list[str]) -> None:
    counts = COUNTED.fullmatch(brief[0])
    assert counts
    assert long[0] == brief[0]
    claims = {claim.name: claim for claim in found.info.claims}
    assert int(counts[1]) == len(claims) == len(long) - 1
    words: dict[str, str] = {}
    level = 1 - 0.05 / len(claims)
    for line in brief[1:]:
        word, _, rest = line.removesuffix(".").partition(": ")
        for part in rest.split("; "):
            said = BRIEF.fullmatch(part)
            assert said, part
            words[said["name"]] = word
            expected = derive(found, claims[said["name"]], level)
            check_ends(said, expected)
            check_word(word, claims[said["name"]], expected)
    assert list(words) != []
    assert [list(words.values()).count(w) for w in WORDS] == [int(counts[i]) for i in (2, 3, 4)]
    for sentence in long[1:]:
        check_sentence(found, sentence, claims, words, level)


WORDS = ("Supported", "Refuted", "Inconclusive")


def check_ends(said: re.Match[str], expected: Derived) -> None:
    for name in ("mean", "low", "high"):
        assert told(getattr(expected, name), said[name]), (said[0], expected)


def check_word(word: str, claim: RegisteredClaim, expected: Derived) -> None:
    """The word that the interval asks for, which gaps, flips and divergence may only take away."""
    if claim.kind == "greater":
        asked = "Supported" if expected.low > 1 else "Refuted" if expected.high < 1 else "Inconclusive"
        assert word == ("Inconclusive" if expected.flips and asked != "Refuted" else asked) or (
            word == "Inconclusive"
        )
        assert not (asked == "Inconclusive" and word != "Inconclusive")
    elif word == "Refuted":
        assert expected.low > 1 or expected.high < -1
    elif word == "Supported":
        assert -1 < expected.low < expected.high < 1


def check_sentence(
    found: Example, sentence: str, claims: dict[str, RegisteredClaim], words: dict[str, str], level: float
) -> None:
    word, _, rest = sentence.partition(": ")
    (name,) = [name for name in claims if rest.startswith(f"{name}. ")]
    assert words[name] == word
    said = LONG.search(rest)
    assert said, rest
    check_ends(said, derive(found, claims[name], level))
    assert told(level, said["level"], 100)
    each = said["each"].split("; ")
    assert [part.split(" ")[0] for part in each] == [choice.name for choice in claims[name].data]
    for part in each:
        on = EACH.fullmatch(part)
        assert on, part
        apart = blocks(found, claims[name], on["data"], errors=False).mean()
        ratio = math.exp(-blocks(found, claims[name], on["data"], errors=True).mean())
        assert told(abs(apart), on["size"], 100), part
        assert on["way"] == ("better" if apart >= 0 else "worse")
        assert on["ratio"] == f"{ratio:.3g}", part
        assert told(found.info.smallest_effect[on["data"]], on["smallest"], 100)
    if word == "Inconclusive":
        blocked = re.search(r"Gaps: |Divergence: |The sign of the difference flips", rest)
        settled = "more seeds alone would not settle it" if blocked else ".* would settle it"
        assert re.search(rf"would be found; {settled}\.$", rest)
        least = re.search(rf"In 80\xa0% of such runs (?:a difference|equivalence within) of ({NUMBER})", rest)
        if claims[name].kind == "greater":
            assert least
            assert told(detectable(derive(found, claims[name], level), level), least[1]), rest


# Tests


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_small_enough_to_be_read(page: Path) -> None:
    assert page.stat().st_size <= LARGEST


def test_the_pages_that_the_documentation_promises_are_there() -> None:
    assert {page.stem for page in PAGES} >= {"core", "optimizers_tuned"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_sentence_of_a_summary_is_derived_again(page: Path) -> None:
    found = example(page)
    first, *rest = found.sentences["summary"]
    check_counts(found, first)
    if rest[0].startswith("Recipes were not tuned"):
        assert "search" not in found.records or found.records["search"].isna().any()
        rest = rest[1:]
    sets = found.cells["data"].nunique()
    for sentence in rest[:sets]:
        check_data_set(found, sentence)
    if found.info.claims:
        check_verdicts(found, rest[sets:], found.sentences["verdicts"])
    else:
        assert rest[sets:] == [NONE]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.stem == "optimizers_tuned"], ids=lambda page: page.stem
)
def test_the_gains_of_tuning_are_derived_again(page: Path) -> None:
    found = example(page)
    lines = [line for line in found.sentences["tuning"] if " tuned − default is from " in line]
    assert len(lines) == found.cells["data"].nunique()
    pattern = re.compile(
        rf"On (\w+) tuned − default is from ([+-]?{NUMBER}) points for (.+?) to ([+-]?{NUMBER}) points "
        rf"for (.+?) in the mean .*"
    )
    for line in lines:
        said = pattern.fullmatch(line)
        assert said, line
        here = found.on(said[1])
        means = here.groupby(here["optimizer"].astype(str))["score"].mean()
        gains = {
            name: means[name] - means[name.partition(" (")[0]] for name in means.index if "(tuned" in name
        }
        low, high = min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__)
        assert (said[4], said[7]) == (low, high)
        assert told(gains[low], said[2].lstrip("+"), 100)
        assert told(gains[high], said[5].lstrip("+"), 100)
