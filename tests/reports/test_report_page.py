"""The page: its policy, its structure under hostile names, its labels, its size."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from typing import Any

import altair
import numpy as np
import pandas as pd
import pytest
import vl_convert
from vega_lite_schema import valid

from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.reports import charts, drawing, figures, page
from recipebench.reports.contents import Contents, contents
from recipebench.reports.suite_info import Endpoint, SuiteInfo
from recipebench.reports.vega_lite import field, layered, mark


class Outline(HTMLParser):
    """The elements of a page with their attributes' names, its texts and its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, ...]] = []
        self.values: dict[str, list[str]] = {}
        self.texts: list[str] = []
        self.raw: list[tuple[str, str]] = []
        self._open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        for name, value in attrs:
            self.values.setdefault(name, []).append(value or "")
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self.elements.append((f"/{tag}",))
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style"):
            self.raw.append((self._open, data))
        else:
            self.texts.append(data)


def _render(found: Contents) -> str:
    return page.render(found, figures.slots(found), drawing.javascript())


@pytest.fixture(scope="module")
def html(card: Any) -> str:
    return _render(contents(*card))


@pytest.fixture(scope="module")
def outline(html: str) -> Outline:
    return Outline(html)


def test_policy_allows_exactly_what_the_page_holds(outline: Outline) -> None:
    policy = next(v for v in outline.values["content"] if v.startswith("default-src"))

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    inline = [text for _, text in outline.raw if not text.startswith("{")]
    hashes = {base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in inline}
    assert set(re.findall(r"sha256-([^']+)'", policy)) == hashes
    assert len(hashes) == 3  # one style, Vega, our own script


def test_page_asks_for_nothing(outline: Outline) -> None:
    for name in ("src", "href", "action", "style"):
        assert all(value.startswith("#") for value in outline.values.get(name, []))
    assert not any(name.startswith("on") for name in outline.values)
    assert not any("@import" in text or "url(" in text for kind, text in outline.raw if kind == "style")


def test_page_claims_nothing(outline: Outline) -> None:
    text = " ".join(outline.texts).lower()

    for word in (
        "significan",
        "p-value",
        "p =",
        "p <",
        "supported",
        "refuted",
        "inconclusive",
        "proves",
        "winner",
    ):
        assert word not in text


def test_optimizers_carry_their_label_everywhere(card: Any, outline: Outline) -> None:
    found = contents(*card)
    label = "optimizer (at default rates, not a ranking)"

    assert outline.texts.count(label) == 2 * len(found.data) + 1  # level tables, the best within, outcomes
    captions = [text for text in outline.texts if "with the best validation" in text]
    assert len(captions) == 2 * 3
    assert all("not a ranking of optimizers" in text for text in captions)
    tuned = contents(card.records, card.history, replace(card.suite, rates_tuned=True), [])
    assert "default rate" not in " ".join(Outline(_render(tuned)).texts)


def test_every_table_and_figure_names_n_and_source(outline: Outline, html: str) -> None:
    tags = [element[0] for element in outline.elements]
    captions = re.findall(r"<caption><span>(.*?)</span></caption>", html) + re.findall(
        r"<figcaption>(.*?)</figcaption>", html
    )

    assert tags.count("caption") == tags.count("table") == 3 + 3 + 3 + 3 + 8 + 3 + 1
    assert tags.count("figcaption") == tags.count("figure") == 3 + 3 + 3 + 2
    assert len(captions) == tags.count("caption") + tags.count("figcaption")
    for caption in captions:
        assert re.search(r"n seeds|n blocks|n = |Counts of records", caption), caption
        assert re.search(r"Student 1908|Demšar 2006|records|recorded|declares", caption), caption


def test_level_means_stand_on_the_page(card: Any, outline: Outline) -> None:
    found = contents(*card)
    texts = set(outline.texts)

    for _, row in found.means[found.means["data"] == "mnist"].iterrows():
        assert f"{100 * row['mean']:.2f}" in texts
        assert f"{100 * row['low']:.2f} to {100 * row['high']:.2f}" in texts


def test_charts_hold_what_the_tables_hold(card: Any) -> None:
    found = contents(*card)

    slots = figures.slots(found)

    places = {f"{kind}-{i}" for i in range(3) for kind in ("pairs", "effects")}
    places |= {f"curves-{i}-{split}" for i in range(3) for split in ("train", "validation")}
    assert set(slots) == places | {"mean-ranks-0", "mean-ranks-1"}
    grids = {"0-1", "0-2", "0-3", "1-2", "1-3", "2-3"}
    assert set(slots["pairs-0"]) == grids | {f"{grid}-apart" for grid in grids}
    cells = slots["pairs-2"]["0-1"]["datasets"]["rows"]
    means = found.pairs[("activation", "initializer")]
    means = means[means["data"] == "mnist"]
    assert [cell["text"] for cell in cells] == [f"{100 * mean:.2f}" for mean in means["mean"]]
    assert max(cells, key=lambda cell: cell["shade"])["text"] == f"{100 * means['mean'].max():.2f}"
    errors = slots["pairs-0"]["0-1"]["datasets"]["rows"]
    assert max(errors, key=lambda cell: cell["shade"])["text"] == f"{means_of(found).min():#.4g}"
    points = slots["curves-2-validation"]["0-0"]["datasets"]["rows"]
    assert len(points) == 4 * 10


def means_of(found: Contents) -> pd.Series[float]:
    means = found.pairs[("activation", "initializer")]
    return means.loc[means["data"] == "synthetic_regression", "mean"]


def test_chart_definitions_are_valid_vega_lite() -> None:
    curves = pd.DataFrame({"mean": [0.05, 0.9]})

    for measure in ("accuracy", "loss"):
        frame = charts.frame_of(curves, measure)
        spec = valid(charts.curve_panel(["a", "b"], measure, frame, 10))
        assert spec["layer"][1]["encoding"]["y"]["scale"]["type"] == (
            "log" if measure == "loss" else "linear"
        )
    assert valid(charts.heatmap(["a"], ["b"], ("f", "s")))["layer"]
    endpoint = Endpoint(column="test_mse", direction="lower", chance=1.0)
    assert valid(charts.forest({"f": ["a"]}, endpoint, (0.0, 1.0)))["vconcat"]


@pytest.mark.parametrize("which", ["card", "tuned"])
def test_every_chart_of_a_report_is_valid_vega_lite(which: str, request: pytest.FixtureRequest) -> None:
    parts = list(figures.parts(contents(*request.getfixturevalue(which))))
    placed = [s for p in parts for choices in p.slots.values() for s in choices.values()]
    definitions = [s for s in placed if not isinstance(s, str)]
    definitions += [spec for part in parts for spec in part.files.values()]

    assert len(definitions) > 20
    # The page holds a chart's rows apart from its definition, and no other data.
    assert {tuple(spec["datasets"]) for spec in placed if not isinstance(spec, str)} == {("rows",)}
    for spec in definitions:
        assert valid(spec)["$schema"] == altair.SCHEMA_URL
    assert vl_convert.get_vegalite_versions()[-1] in altair.SCHEMA_URL  # what draws knows that version


def test_a_data_set_without_an_ok_run_has_no_curves(make_card: Callable[..., Any]) -> None:
    records, history, suite, environments = make_card(data=("digits", "mnist"), epochs=3, troubled=False)
    lost = records.assign(status=records["status"].where(records["data"] == "mnist", "diverged"))

    parts = list(figures.parts(contents(lost, history, suite, environments)))
    placed = {place: choices for part in parts for place, choices in part.slots.items()}
    files = {name for part in parts for name in part.files if name.startswith("curves-")}

    assert set(placed["curves-0-train"].values()) == {"No run ended ok here, so there is no curve."}
    assert files == {f"curves-mnist-{factor}.svg" for factor in suite.factors}


@pytest.mark.parametrize(("last", "values"), [(1, [1]), (3, [1, 2, 3]), (40, None)])
def test_epochs_are_marked_at_whole_numbers(last: int, values: list[int] | None) -> None:
    spec = charts.curve_panel(["a"], "loss", charts.Frame(0.0, 1.0, log=False), last)

    axis, points = spec["layer"][1]["encoding"]["x"]["axis"], spec["layer"][2]["mark"]
    assert axis.get("values") == values
    assert axis.get("tickMinStep") == (None if values else 1)
    assert points["opacity"] == (1 if last == 1 else 0)  # a line through one point is not seen


def test_files_shorten_no_label() -> None:
    spec = layered(mark("rule", {"y": field("a", "nominal", axis={"labelLimit": 220, "ticks": False})}))

    saved = charts.for_file(spec)

    assert saved["layer"][0]["encoding"]["y"]["axis"] == {"labelLimit": 0, "ticks": False}
    assert {saved["config"][part]["labelLimit"] for part in ("axis", "legend")} == {0}
    assert spec["layer"][0]["encoding"]["y"]["axis"]["labelLimit"] == 220


def test_what_is_no_vega_lite_is_refused() -> None:
    for wrong in (mark("dot", {"x": field("a")}), mark("point", {"x": field("a", tick=3)})):
        with pytest.raises(AssertionError, match=r"layer\[0\]"):
            valid(layered(wrong))


def test_many_levels_keep_colors_and_dashes_apart() -> None:
    looks = {(charts.color(i), charts.dash(i)) for i in range(24)}

    assert len(looks) == 24


def test_no_history_and_no_factors_still_make_a_page() -> None:
    records = pd.DataFrame(
        {
            "cell_id": ["a", "b"],
            "data": "digits",
            "model": "softmax_regression",
            "seed": [0, 1],
            "status": ["ok", "missing"],
            "reason": [None, "needs a GPU"],
            "epochs": 1,
            "test_accuracy": [0.9, None],
        }
    )
    endpoint = Endpoint(column="test_accuracy", direction="higher", chance=0.1)
    suite = SuiteInfo(
        name="one",
        description="",
        endpoints={"digits": endpoint},
        factors={},
        seeds=(0, 1),
        planned=2,
        protocol="",
    )

    outline = Outline(_render(contents(records, pd.DataFrame(), suite, [])))

    assert "needs a GPU" in outline.texts
    assert not any("data-slot" in element for element in outline.elements)


def test_a_factor_with_one_level_is_told_once(make_card: Callable[..., Any]) -> None:
    factors = {"model": (Choice("mlp", {}),), "activation": (Choice("relu", {}), Choice("sigmoid", {}))}
    card = make_card(data=("digits",), factors=factors, seeds=2, troubled=False)

    found = contents(*card)
    texts = Outline(_render(found)).texts

    assert found.compared == ["activation"]
    assert texts.count("model mlp") == 1
    assert "mlp" not in texts
    assert "On digits validation chooses relu: its test accuracy" in found.headline.lines[2]


def test_infinite_losses_still_make_a_page(make_card: Callable[..., Any]) -> None:
    card = make_card(data=("synthetic_regression",), seeds=2, epochs=2, troubled=False)
    history = card.history.copy()
    history.loc[history.index[::7], ["train_loss", "validation_mse"]] = [np.inf, 1e300]

    slots = figures.slots(contents(card.records, history, card.suite, []))

    points = slots["curves-0-train"]["0-1"]["datasets"]["rows"]
    assert any(point["mean"] is None for point in points)


def test_script_that_would_end_its_element_is_refused(card: Any) -> None:
    with pytest.raises(RequestError, match="stays inside its element"):
        page.render(contents(*card), {}, "'</SCRIPT>'")


def test_a_page_of_many_cells_stays_small(make_card: Callable[..., Any]) -> None:
    optimizers = tuple(Choice("sgd", {"lr": lr / 1000}) for lr in range(1, 21))
    factors = {
        "activation": tuple(Choice(f"activation_{i}", {}) for i in range(10)),
        "initializer": (Choice("xavier", {}), Choice("he", {})),
        "optimizer": optimizers,
    }
    card = make_card(factors=factors, seeds=2, epochs=60)

    html = _render(contents(*card))

    assert len(card.history) > 100_000
    assert len(html.encode()) < 3_000_000


_PAYLOADS = (
    "<script>document.title='owned'</script>",
    "</script><script>document.title='owned'</script>",
    "</style><img src=x onerror=document.title='owned'>",
    "</title></head><body onload=document.title='owned'>",
    '"><svg onload=document.title="owned">',
    "' onmouseover='document.title=1' x='",
    "<!-- <script> -->",
    "]]><iframe srcdoc='<b>'>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:document.title='owned'",
    "&lt;script&gt;&amp;&#x3c;b&#x3e;",
    "</textarea></select></option></table></caption>",
    "datum.level ? 1 : signal('x')",
    "$(touch owned)`touch owned`",
    "|a|b|\n---\n<b>",
    "\\input{/etc/hostname}%\n\\end{tabular}",
    "\u202egnirts\u2028\u2029\u200b\ufeff",
    "é ß 中文 🙂 \x00\x1f\x7f",
    "=HYPERLINK(1)+cmd|x",
    "../../../escape",
)
HOSTILE = sorted(payload + mark for mark in ("", *"'\"<>&`/=;", *"abcdefghijklmnop") for payload in _PAYLOADS)


def hostile_card(names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame, SuiteInfo, list[dict[str, Any]]]:
    """Put every name in every field that takes one."""
    n, text = len(names), " ".join(names)
    data = [names[i] for i in range(4)]
    records = pd.DataFrame(
        dict.fromkeys(("activation", "optimizer", "reason", "torch", "cpu", "suite"), names)
    )
    records["device"], records["model"], records["inputs"] = names[:3]
    records["cell_id"] = [f"{i}{name}" for i, name in enumerate(names)]
    records["optimizer.kind"] = [names[-1 - i] for i in range(n)]
    records["data"] = [data[i % 4] for i in range(n)]
    records["seed"], records["epochs"], records["test_accuracy"] = 0, 1, 0.5
    records["status"] = ["failed" if i % 5 == 0 else "ok" for i in range(n)]
    history = records[["cell_id"]].assign(epoch=1)
    for column in ("train_loss", "validation_loss", "train_accuracy", "validation_accuracy"):
        history[column] = 0.5
    factors = {f: tuple(Choice(name, {}) for name in names) for f in ("activation", "optimizer")}
    suite = SuiteInfo(
        name=text,
        description=text,
        endpoints={d: Endpoint(column="test_accuracy", direction="higher", chance=0.1) for d in data},
        factors=factors,
        seeds=(0,),
        planned=n,
        protocol=text,
        smallest_effect=dict.fromkeys(data, 0.1),
        data={d: {name: name for name in names[:50]} for d in data},
        command=text,
    )
    return records, history, suite, [{name: name for name in names} | {"nested": {names[0]: [names[1]]}}]


@pytest.fixture(scope="module")
def attacked() -> Outline:
    return Outline(_render(contents(*hostile_card(HOSTILE))))


def test_hostile_names_change_no_element(attacked: Outline) -> None:
    assert len(set(HOSTILE)) == len(HOSTILE) >= 500
    benign = ["".join(letters) for letters in product("abcdefghi", repeat=3)][: len(HOSTILE)]

    calm = Outline(_render(contents(*hostile_card(benign))))

    assert attacked.elements == calm.elements
    assert [kind for kind, _ in attacked.raw] == [kind for kind, _ in calm.raw]
    shown = "\n".join(attacked.texts)
    for name in HOSTILE:
        assert name.replace("\x00", "\ufffd") in shown or name in shown


def test_hostile_names_come_back_from_the_charts_unchanged(attacked: Outline) -> None:
    (payload,) = [text for kind, text in attacked.raw if text.startswith('{"config"')]
    assert not set("<>&") & set(payload)
    slots = json.loads(payload)["slots"]
    levels = set()
    for spec in slots["curves-0-train"].values():
        levels |= {row[spec["keys"].index("level")] for row in spec["values"]}
    assert levels & set(HOSTILE)
