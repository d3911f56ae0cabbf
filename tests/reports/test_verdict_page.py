"""Verdicts on the page, in the summary and in the files: every one with its numbers."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from vega_lite_schema import valid

from recipebench import reports
from recipebench.levels import Choice
from recipebench.reports import figures, page, verdict_charts, verdict_views, verdict_words
from recipebench.reports.contents import Contents, contents
from recipebench.reports.suite_info import RegisteredClaim

RELU, SIGMOID, LEAKY = Choice("relu", {}), Choice("sigmoid", {}), Choice("leaky_relu", {"slope": 0.01})
DATA = (Choice("digits", {}), Choice("mnist", {}))
HOSTILE = "<img src=x onerror=alert(1)> | [a](b) $x$ {{ 7 * 7 }}"


def claim(name: str, first: Choice, second: Choice, **changes: Any) -> RegisteredClaim:
    given: dict[str, Any] = {"axis": "activation", "first": (first,), "second": (second,), "data": DATA}
    return RegisteredClaim(name=name, **{**given, **changes})


FAMILY = (
    claim("relu > sigmoid", RELU, SIGMOID),
    claim(HOSTILE, SIGMOID, RELU, data=DATA[:1]),
    claim("leaky_relu > relu", LEAKY, RELU),
    claim("leaky_relu ≈ relu", LEAKY, RELU, kind="equivalent"),
    claim("on new data", RELU, SIGMOID, scope="new"),
)


@pytest.fixture(scope="module")
def small(card: Any) -> Any:
    module = sys.modules[type(card).__module__]
    two = {name: module.FACTORS[name] for name in ("activation", "initializer")}
    return module.make(data=("digits", "mnist"), factors=two, seeds=4, epochs=4, troubled=False)


@pytest.fixture(scope="module")
def made(small: Any) -> Contents:
    return contents(small.records, small.history, registered(small.suite), small.environments)


def registered(suite: Any) -> Any:
    return replace(
        suite,
        claims=FAMILY,
        smallest_effect={"digits": 0.002, "mnist": 0.001},
        reference={"digits": 0.95, "mnist": 0.96},
        items={"digits": 359, "mnist": 10_000},
    )


def test_each_claim_is_a_sentence_with_word_numbers_and_what_would_settle_it(made: Contents) -> None:
    words = [each.verdict.word for each in made.verdicts]
    first, *told = verdict_words.sentences(made.verdicts)

    assert words[:2] == ["supported", "refuted"]
    assert words[4] == "inconclusive"
    counts = ", ".join(f"{words.count(w)} {w}" for w in ("supported", "refuted", "inconclusive"))
    assert first == f"5 claims were registered in the suite: {counts}."
    for each, sentence in zip(made.verdicts, told, strict=True):
        assert sentence.startswith(f"{each.verdict.word.capitalize()}: {each.claim.name}.")
        assert (
            f"{each.verdict.mean:.2f} smallest effects (adjusted 99\N{NO-BREAK SPACE}% interval" in sentence
        )
        ends = [verdict_words.number(end) for end in (each.verdict.low, each.verdict.high)]
        assert " to ".join(ends) in sentence
        if each.verdict.word == "inconclusive":
            assert re.search(r"In 80\xa0% of such runs .* would be found; ", sentence), sentence
            assert re.search(r"(about|more than) [\d,]+ (seeds?|data sets?).* would settle it", sentence)
    assert "It is not better by more than the smallest effect." in told[1]
    assert "New data sets: 2 data sets are fewer than 6." in told[4]
    assert re.search(
        r"digits \d+\.\d\d points better \(errors × 0\.\d+, smallest effect 0\.20 points\)", told[0]
    )


def test_the_headline_ends_with_all_claims_by_their_word(made: Contents) -> None:
    told = made.headline.lines[-4:]

    names = " ".join(made.headline.lines)
    assert all(each.claim.name in names for each in made.verdicts)
    assert any(sentence.startswith("Supported: relu > sigmoid (") for sentence in told)


def test_the_tables_hold_the_verdicts(made: Contents) -> None:
    view, effects = verdict_views.verdicts(made), verdict_views.effects(made)

    for each, row in zip(made.verdicts, view.rows, strict=True):
        assert row.texts[1:3] == [each.claim.name, each.verdict.word]
        assert row.texts[4] == f"{each.verdict.mean:.2f}"
        assert row.values[4] == each.verdict.mean
        assert len(row.texts) == len(row.values) == len(view.columns)
    assert "2 of 2 data sets agree in sign" in view.rows[0].texts[3]
    assert [len(group.rows) for group in effects.groups] == [2, 1, 2, 2, 2]
    digits = effects.rows[0]
    on = made.verdicts[0].on[0]
    assert digits.texts[:4] == ["digits", "averages", "0.20 points", f"{100 * on.mean:.2f} points"]
    assert digits.texts[5] == f"{on.ratio:.3g}"
    assert len(digits.texts) == len(digits.values) == len(effects.columns)
    for caption in (view.caption, effects.caption):
        assert "n blocks" in caption.replace("n\nblocks", "n blocks")
        assert "Welch 1947" in caption


def test_the_figure_marks_the_smallest_effect_and_cuts_at_its_frame(made: Contents) -> None:
    spec = figures.slots(made)[verdict_charts.PLACE][""]

    rows = spec["datasets"]["rows"]
    assert [row["claim"] for row in rows] == [each.claim.name for each in made.verdicts]
    marks = [layer["data"]["values"] for layer in spec["layer"][:2]]
    assert marks == [[{"at": 0}], [{"at": -1}, {"at": 1}]]
    low, high = spec["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    assert all(low <= row["low"] <= row["mean"] <= row["high"] <= high for row in rows)
    zero = replace(made.verdicts[0], relative=False)
    lost = replace(made.verdicts[0], verdict=replace(made.verdicts[0].verdict, mean=math.nan))
    assert verdict_charts.drawn([zero, lost]) == []


def test_the_page_tells_the_verdicts_and_no_name_becomes_markup(made: Contents) -> None:
    html = page.render(made, figures.slots(made), "")

    section = html[html.index('<section id="verdicts"') : html.index('<section id="means"')]
    assert section.count("<table") == 2
    assert section.count('data-slot="verdicts"') == 1
    assert "<img src=x" not in html
    assert "&lt;img src=x" in section
    assert "49" not in section[section.index("&lt;img") : section.index("&lt;img") + 120]


def test_files_of_verdicts_are_written(small: Any, tmp_path: Any) -> None:
    failed = small.records["activation"].isin(["relu", "sigmoid"]) & (small.records["seed"] == 0)
    records = small.records.assign(status=small.records["status"].mask(failed, "failed"))

    reports.write(records, small.history, registered(small.suite), tmp_path, small.environments)

    table = pd.read_csv(tmp_path / "tables" / "verdicts.csv")
    assert table["claim"].drop_duplicates().tolist() == [each.name for each in FAMILY]
    assert set(table["verdict"]) == {"inconclusive"}
    assert table["reasons"].str.startswith(("Gaps: ", "A data set")).all()
    for name in ("verdicts.tex", "effects.tex"):
        assert (tmp_path / "tables" / name).exists()
    tags = {e.tag.rpartition("}")[2] for e in ElementTree.parse(tmp_path / "figures" / "verdicts.svg").iter()}
    assert {"svg", "path", "text"} <= tags
    assert not {"script", "image", "a"} & tags
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "## Verdicts" in summary
    assert "- Inconclusive: relu &gt; sigmoid." in summary


def test_chart_definition_is_valid_vega_lite(made: Contents) -> None:
    assert valid(verdict_charts.forest(made.verdicts))["layer"]
