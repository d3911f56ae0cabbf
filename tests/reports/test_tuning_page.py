"""The sections on tuning and targets: sentences, tables, charts, files, hostile names, a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest
from vega_lite_schema import valid

from recipebench import reports
from recipebench.levels import Choice, Tuned
from recipebench.reports import figures, headline, page, tuning_charts, tuning_figures, tuning_views
from recipebench.reports.charts import Frame
from recipebench.reports.contents import Contents, contents
from recipebench.reports.suite_info import Endpoint, Targets

GOAL = Endpoint(column="validation_accuracy_at_best", direction="higher", chance=0.1)
JOINT = (
    Choice("sgd", {"lr": 0.001}),
    Tuned("sgd", {}, {"lr": None}),
    Choice("adam", {"lr": 0.001, "beta1": 0.9}),
    Tuned("adam", {}, {"lr": None, "beta1": None}),
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *(
        "--enable-logging=stderr",
        "--v=0",
        "--virtual-time-budget=20000",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ),
)


class Texts(HTMLParser):
    """The elements of a page and its texts outside of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, ...]] = []
        self.texts: list[str] = []
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open not in ("script", "style"):
            self.texts.append(data)


def _render(found: Contents) -> str:
    return page.render(found, figures.slots(found), "")


@pytest.fixture(scope="module")
def whole(tuned: Any) -> Any:
    import sys

    make: Callable[..., Any] = sys.modules[type(tuned).__module__].make_tuned
    criterion = dict.fromkeys(("digits", "mnist"), GOAL)
    return make(levels=JOINT, betas=(0.8, 0.9, 0.95), targets=Targets(share=0.9, criterion=criterion))


@pytest.fixture(scope="module")
def out(whole: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned")
    reports.write(whole.records, whole.history, whole.suite, folder, whole.environments)
    return folder


def test_the_sentences_tell_what_was_tuned_on_which_seeds_and_what_lies_at_an_edge(
    tuned: Any, make_tuned: Callable[..., Any]
) -> None:
    first, second, edges, digits, mnist = tuning_views.sentences(contents(*tuned))

    assert first == (
        "8 searches on 2 data sets, each of 9 trials (log_grid) on 2 tuning seeds (1000, 1001). "
        "Tuned were optimizer: sgd (tuned lr), adam (tuned lr)."
    )
    assert "validation accuracy at the best validation epoch (digits, mnist)" in second
    assert "reporting seeds (0, 1, 2), none of which is a tuning seed" in second
    assert edges == "None of 8 optima lies at an edge of what was tried."
    assert digits.startswith(
        "On digits tuned \N{MINUS SIGN} default is from 0.00 points for adam (tuned lr) to +20.00"
    )
    assert mnist.startswith("On mnist")
    told = tuning_views.sentences(contents(*make_tuned(optima={"sgd": 1e-5, "adam": 0.01}, unfinished=1)))
    assert "1 search is not finished" in told[2]
    assert told[3].startswith("3 of 7 optima lie at an edge of what was tried")
    assert "sgd (tuned lr) on mnist (optimizer.lr low)" in told[3]


def test_untuned_optimizers_beside_tuned_ones_carry_their_label(tuned: Any) -> None:
    found = contents(*tuned)
    texts = Texts(_render(found)).texts

    assert found.rates == "mixed"
    assert texts.count("optimizer (not marked tuned: at default rates, not a ranking)") == 2 * 2 + 1
    assert any("Optimizers not marked tuned are at default rates" in text for text in texts)
    assert "Tuned and default rates." in texts
    assert not any("Every optimizer ran at one default rate" in text for text in texts)


def test_the_headline_names_the_tuned_recipe_that_tuning_seeds_chose_whoever_is_ahead_in_the_test(
    tuned: Any,
) -> None:
    records = tuned.records.copy()
    plain = records["optimizer.tuned"].isna() & (records["optimizer"] == "adam")
    report = records["role"] == "report"
    records.loc[plain, "test_accuracy_at_best"] += 0.01
    records.loc[report & (records["activation"] == "sigmoid"), "validation_accuracy_at_best"] = 0.99

    found = contents(records, tuned.history, tuned.suite, [])
    sentence = found.headline.lines[1]

    assert "On digits validation chooses relu + sgd (tuned lr): its test accuracy" in sentence
    assert "94.10\N{NO-BREAK SPACE}% (95\N{NO-BREAK SPACE}% interval" in sentence
    assert "on seeds that chose nothing" in sentence
    assert "The runner-up" not in sentence
    assert "Its lead over the runner-up, relu + adam (tuned lr), is 0.00 points" in sentence
    assert "optimizer with its rate, tuned or not," in sentence
    assert not any("same seeds" in told for told in found.headline.lines)
    within = found.within[(found.within["data"] == "digits") & (found.within["factor"] == "optimizer")]
    assert within["level"].tolist() == ["sgd (tuned lr)", "adam (tuned lr)"]
    assert within["activation"].tolist() == ["relu", "relu"]


def test_a_suite_whose_optimizers_are_all_tuned_ranks_them(make_tuned: Callable[..., Any]) -> None:
    levels = (Tuned("sgd", {}, {"lr": None}), Tuned("adam", {"beta1": 0.9}, {"lr": None}))
    found = contents(*make_tuned(levels=levels, optima={"sgd": 1e-5, "adam": 0.001}))
    texts = " ".join(Texts(_render(found)).texts)

    assert found.rates == "tuned"
    assert "default rate" not in texts
    assert "not a ranking" not in texts
    assert "(ω²): optimizer " in found.headline.lines[1]
    assert found.searches is not None
    assert found.searches.against_default.empty


def test_every_table_and_figure_of_tuning_names_n_and_source(out: Path) -> None:
    html = (out / "index.html").read_text(encoding="utf-8")
    start = html.index('<section id="tuning"')
    section = html[start : html.index('<section id="variance"')]

    captions = re.findall(r"<caption><span>(.*?)</span></caption>", section)
    shown = re.findall(r"<figcaption>(.*?)</figcaption>", section)
    assert len(captions) == section.count("<table") == 2 + 2 + 1 + 2 + 1 + 1
    assert len(shown) == section.count("<figure") == 2 + 4 + 2 + 1 + 1
    for caption in captions + shown:
        assert re.search(r"n seeds|n = |n problems", caption), caption
        assert re.search(r"Student 1908|records|Tang et al|Dolan and Moré 2002", caption), caption
    text = " ".join(Texts(section).texts).lower()
    for word in ("significan", "p-value", "supported", "refuted", "inconclusive", "winner"):
        assert word not in text


def test_the_numbers_of_the_frames_stand_in_the_tables(whole: Any) -> None:
    found = contents(*whole)
    view = tuning_views.against_default(found, "digits")

    (group,) = view.groups
    assert group.rows[0].texts[:6] == [
        "sgd (tuned lr)",
        "sgd",
        "73.60",
        "73.35 to 73.85",
        "93.57",
        "93.32 to 93.81",
    ]
    assert group.rows[0].texts[6] == "+19.97"
    reached = tuning_views.time_to_target(found)
    assert [row.texts[4] for row in reached.groups[1].rows] == ["> 4", "3", "3", "3"]
    assert reached.groups[1].rows[0].values[4] == 5
    chosen = tuning_views.chosen(found)
    assert [row.texts[3] for row in chosen.rows[:3]] == ["optimizer.lr", "optimizer.beta1", "optimizer.lr"]
    cost = tuning_views.cost(found).rows
    assert [row.texts[0] for row in cost] == [
        *("sgd (tuned lr)", "adam (tuned beta1, lr)", "all searches", "reported cells")
    ]


def test_charts_hold_what_the_tables_hold(whole: Any) -> None:
    found = contents(*whole)
    slots = figures.slots(found)

    dots = slots["default-0"][""]["datasets"]["rows"]
    assert [dot["series"] for dot in dots] == ["default", "tuned"] * 2
    assert dots[0]["text"] == "73.60\N{NO-BREAK SPACE}%"
    points = slots["sensitivity-0-0"][""]["datasets"]["rows"]
    crossed = [point for point in points if point["diverged"]]
    assert {point["at"] for point in crossed} == {"1"}
    assert {point["level"] for point in points if not point["line"]} == {"adam (tuned beta1, lr)"}
    betas = slots["sensitivity-0-1"][""]["datasets"]["rows"]
    assert {point["value"] for point in betas} == {0.05, 0.1, 0.2}  # 1 - beta1
    assert len(slots["ranks-0"][""]["datasets"]["rows"]) == 2 * 27
    assert {"best-of-k-0", "best-of-k-1"} < set(slots)


def test_chart_definitions_are_valid_vega_lite() -> None:
    frame = Frame(0.1, 0.9, log=False)

    assert valid(tuning_charts.against_default(["a"], GOAL, (0.0, 1.0)))["layer"]
    for scale, kind in (("log", "log"), ("linear", "linear"), ("one_minus_log", "log")):
        across = tuning_charts.value_frame([{"value": 0.5}], scale)
        chart = valid(tuning_charts.sensitivity(["a"], "optimizer.lr", across, GOAL, frame))
        assert chart["layer"][0]["encoding"]["x"]["scale"]["type"] == kind
        assert across.low < 0.5 < across.high
    assert valid(tuning_charts.best_of_k(["a"], GOAL, frame, 16))["layer"]
    assert valid(tuning_charts.ranks(["a", "b"], 2, 16))["layer"]


def test_many_single_trials_are_thinned() -> None:
    trials = pd.DataFrame({"level": "a", "value": range(1, 1001), "mean": 0.5, "line": False, "diverged": 0})

    rows = tuning_charts.sensitivity_rows(trials.assign(trials=1, searches=1), "log", "accuracy")

    assert len(rows) == tuning_charts.MOST_POINTS


def test_all_files_of_tuning_are_written(out: Path) -> None:
    tables = {path.name for path in (out / "tables").iterdir()}
    drawings = {path.name for path in (out / "figures").iterdir()}

    both = ("chosen_values", "sensitivity", "best_of_k", "rank_by_budget", "tuning_cost", "time_to_target")
    assert {f"{name}.{kind}" for name in both for kind in ("csv", "tex")} < tables
    assert {f"tuned_against_default-{name}.tex" for name in ("digits", "mnist")} < tables
    assert "tuned_against_default.csv" in tables
    assert {
        "tuned_against_default-digits.svg",
        "best_of_k-mnist.svg",
        "rank_by_budget-optimizer.svg",
    } < drawings
    assert len([name for name in drawings if name.startswith("sensitivity-")]) == 4
    for name in drawings:
        tags = {
            element.tag.rpartition("}")[2] for element in ElementTree.parse(out / "figures" / name).iter()
        }
        assert {"svg", "path", "text"} <= tags
    reached = pd.read_csv(out / "tables" / "time_to_target.csv")
    assert reached["median_epochs"].isin([3, float("inf")]).all()
    summary = (out / "summary.md").read_text(encoding="utf-8")
    for heading in ("## Tuning", "## Time to target"):
        assert heading in summary
    assert "| sgd (tuned lr) | sgd | 73.60 |" in summary


def test_the_same_input_gives_the_same_bytes_and_every_row_is_kept(
    whole: Any, out: Path, tmp_path: Path
) -> None:
    records, history = (
        whole.records.sample(frac=1, random_state=3),
        whole.history.sample(frac=1, random_state=4),
    )

    reports.write(records, history, whole.suite, tmp_path, whole.environments)

    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    for path in files:
        assert (tmp_path / path.relative_to(out)).read_bytes() == path.read_bytes(), path.name
    assert len(pd.read_parquet(out / "records.parquet")) == len(whole.records)
    assert whole.records["cell_id"].duplicated().any()


def test_a_suite_that_does_not_tune_says_nothing_of_it(make_card: Callable[..., Any]) -> None:
    card = make_card(data=("digits",), factors={"optimizer": JOINT[::2]}, seeds=2, epochs=2, troubled=False)
    found = contents(*card)
    html = _render(found)

    assert found.searches is None
    assert found.reached is None
    assert tuning_figures.part(found) == ({}, {})
    for word in ("#tuning", "#targets", "Tuning seeds", "Trials of searches"):
        assert word not in html
    assert headline.what_was_run(found.counts, card.suite) == found.headline.lines[0]
    with pytest.raises(ValueError, match="core tunes nothing"):
        tuning_views.sentences(found)
    with pytest.raises(ValueError, match="core declares no targets"):
        tuning_views.time_to_target(found)


NASTY = (
    "</script><img src=x onerror=document.title='owned'>",
    '"><svg onload=document.title="owned">',
    "{{ 7 * 7 }}|a|\\input{x}%",
    "datum.level ? 1 : signal('x')",
)


def _hostile(make: Callable[..., Any], names: tuple[str, ...]) -> Any:
    first, second, third, fourth = names
    levels = (
        Choice(third, {"lr": 0.001}),
        Tuned(third, {}, {"lr": None}),
        Tuned(fourth, {}, {"lr": None}),
    )
    optima = {third: 1e-5, fourth: 0.01}
    targets = Targets(share=0.9, criterion={first: GOAL})
    made = make(data=(first,), activations=(second,), levels=levels, optima=optima, targets=targets)
    return made._replace(records=made.records.assign(search=made.records["search"] + second))


@pytest.fixture
def attacked(make_tuned: Callable[..., Any]) -> Any:
    return _hostile(make_tuned, NASTY)


def test_hostile_names_change_no_element(attacked: Any, make_tuned: Callable[..., Any]) -> None:
    calm = _hostile(make_tuned, ("aaa", "bbb", "ccc", "ddd"))

    found, plain = (Texts(_render(contents(*made))) for made in (attacked, calm))

    assert found.elements == plain.elements
    shown = "\n".join(found.texts)
    assert all(name in shown for name in NASTY)


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH to open the page in")
def test_every_chart_is_drawn_in_a_browser_whatever_the_names(attacked: Any, tmp_path: Path) -> None:
    path = reports.write(attacked.records, attacked.history, attacked.suite, tmp_path / "out", [])
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()]

    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)

    assert [line for line in ran.stderr.splitlines() if "CONSOLE" in line] == []
    assert 'data-ready="yes"' in ran.stdout
    assert "<title>tuned · recipebench</title>" in ran.stdout
    places = re.findall(r'data-slot="([^"]+)"[^>]*>(.{0,400})', ran.stdout, flags=re.DOTALL)
    assert {"default-0", "sensitivity-0-0", "best-of-k-0", "ranks-0"} < {place for place, _ in places}
    assert all("<svg" in inside for _, inside in places)
