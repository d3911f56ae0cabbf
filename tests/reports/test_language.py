"""Reports in another language: every message is translated, nothing is left over, two languages never mix."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import string
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from docs_scripts import load
from fontTools.ttLib import TTFont
from typer.testing import CliRunner

import recipebench as rb
from recipebench import reports
from recipebench.benchmarks.cli import app
from recipebench.errors import RequestError
from recipebench.levels import Choice
from recipebench.reports import charts, drawing, fonts, language, page, writer
from recipebench.reports.contents import contents
from recipebench.reports.own_levels import sentences
from recipebench.reports.suite_info import Endpoint, RegisteredClaim, Targets

ROOT = Path(__file__).resolve().parents[2]
OTHERS = [name for name in language.LANGUAGES if name != "en"]

ENGLISH = re.compile(r"[A-Za-z][A-Za-z'’-]+(?:[ ,;:]+[A-Za-z][A-Za-z'’-]+){2,}")
"""Three or more words of Latin letters after one another."""

TITLES = ("The probable error of a mean", "Practical Nonparametric Statistics")
"""What stays English in a Chinese sentence: titles of references."""

CLAIM = "relu > sigmoid"
NAMES = {"sigmoid", "relu", "sgd", "adam", "digits", "synthetic_regression", "mnist"}
PLAIN = {"#", "n", "P", "p（Holm）", "torch", "SHA-256"}
LABELS = re.compile(r"k = \d+|\w+ \(tuned \w+\)|\w+：optimizer\.lr")
"""Headings that are symbols or names in every language."""


translate = load("translate")


def _places(message: str) -> set[str]:
    named = {name for _, name, _, _ in string.Formatter().parse(message) if name}
    return named | set(re.findall(r"%\((\w+)\)s", message))


# Catalogs


def test_every_message_is_translated_and_no_file_is_stale() -> None:
    assert translate.stale() == []


def test_a_new_message_makes_a_catalog_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    more = [*translate.messages(), translate.Message("Nobody translated {this}.", "reports/new.py")]
    monkeypatch.setattr(translate, "messages", lambda: more)

    found = translate.stale()

    assert "zh: no translation of 'Nobody translated {this}.'" in found
    assert "recipebench.po is stale" in found


def test_all_ways_to_ask_for_a_message_are_gathered() -> None:
    known = {message.id for message in translate.messages()}

    assert "Level means" in known  # gettext
    assert "{low} to {high}" in known  # say
    assert "mean squared error" in known  # N_
    assert ("{count} search", "{count} searches") in known  # count_of
    assert ("{count} data set", "{count} data sets") in known  # range_of
    assert "Paired effects on %(data)s; the numbers are in the table below" in known  # the template
    assert "A deep Q-network on CartPole from its state, and on Catch from pixels." in known  # a suite


@pytest.mark.parametrize("name", OTHERS)
def test_a_translation_has_the_places_of_its_message(name: str) -> None:
    messages = [message for message in translate.read(name) if message.id]

    assert len(messages) > 500
    for message in messages:
        one = message.id if isinstance(message.id, str) else message.id[0]
        for said in [message.string] if isinstance(message.string, str) else message.string:
            assert _places(said) == _places(one), one
            assert said.count("%%") == one.count("%%"), one
            assert re.findall(r"</?\w+>", said) == re.findall(r"</?\w+>", one), one


@pytest.mark.parametrize("name", OTHERS)
def test_chinese_sentences_have_full_width_punctuation(name: str) -> None:
    for message in translate.read(name):
        said = message.string if isinstance(message.string, str) else "".join(message.string)
        wrong = re.findall(r"[\u4e00-\u9fff][,;:?!(]|[\u4e00-\u9fff]\.(?!\w)", said) if message.id else []
        assert wrong == [], said


def test_what_no_catalog_has_is_refused() -> None:
    with language.writing("zh"):
        with pytest.raises(LookupError, match=r"zh: no translation of 'Nobody says this\.'"):
            language.gettext("Nobody says this.")
        assert language.shipped("A description of my own.") == "A description of my own."
        assert (
            language.shipped("The full card of recipes on two embedded data sets.")
            == "全部配方，两个内置数据集。"
        )


def test_the_script_asks_for_the_words_that_the_page_holds() -> None:
    script = (ROOT / "reports" / "page.js").read_text(encoding="utf-8")

    assert set(re.findall(r'said\("(\w+)"', script)) == set(page._WORDS)


# The font


def test_the_font_has_every_character_of_the_catalogs() -> None:
    with TTFont(fonts.FILE) as font:
        glyphs, family = set(map(chr, font.getBestCmap())), font["name"].getDebugName(1)

    assert len(translate.characters()) > 400
    assert set(translate.characters()) <= glyphs
    assert family == fonts.FAMILY
    assert not {letter for letter in glyphs if letter.isascii() and letter.isalnum()}
    assert fonts.FILE.stat().st_size <= translate.LARGEST_FONT
    assert "SIL OPEN FONT LICENSE" in (fonts.FOLDER / "OFL.txt").read_text(encoding="utf-8")


# A report


def _speed(path: Path) -> Path:
    rows = []
    for number, (place, level) in ((n, each) for n in range(1, 8) for each in enumerate(("relu", "tanh"))):
        info = {"factor": "activation", "level": level, "phase": "step", "device": "cpu", "setting": "8-4"}
        info |= {"baseline": "relu", "members": 1, "control": False, "place": place, "pass": number}
        times = [1e-3 * (place + 1) * (1 + 0.01 * number + 0.001 * k) for k in range(3)]
        rows.append({"group": "activation", "extra_info": info | {"occupied": 0.5}, "stats": {"data": times}})
    machine = {"recipebench": {"cpu_model": "Abacus 1", "cpu_class": "wood-1", "os": "Linux 6", "threads": 1}}
    content = {"datetime": "2026-01-01T10:00:00", "machine_info": machine, "benchmarks": rows}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _criterion(data: str) -> Endpoint:
    if data == "synthetic_regression":
        return Endpoint(column="validation_mse", direction="lower", chance=1.0)
    return Endpoint(column="validation_accuracy", direction="higher", chance=0.1)


def _claim(kind: str, scope: str = "these") -> RegisteredClaim:
    digits = (Choice("digits", {}),)
    sides: dict[str, Any] = {"first": (Choice("relu", {}),), "second": (Choice("sigmoid", {}),)}
    return RegisteredClaim(name=CLAIM, axis="activation", data=digits, kind=kind, scope=scope, **sides)


@pytest.fixture(scope="module")
def conftest(card: Any) -> Any:
    return sys.modules[type(card).__module__]


@pytest.fixture(scope="module")
def small(conftest: Any) -> Any:
    factors = {"activation": conftest.FACTORS["activation"][:2]}
    factors["optimizer"] = (Choice("sgd", {"lr": 0.1}), Choice("adam", {"lr": 0.001}))
    data = ("digits", "synthetic_regression")
    made = conftest.make(data=data, factors=factors, seeds=5, epochs=3, troubled=False, name="small")
    suite = replace(
        made.suite,
        description="",
        protocol="",
        smallest_effect={"digits": 0.002},
        reference={"digits": 0.95},
        claims=(_claim("greater"), _claim("equivalent"), _claim("greater", "new")),
        targets=Targets(share=0.9, criterion={name: _criterion(name) for name in data}),
    )
    return made._replace(suite=suite, environments=[{"versions": {"torch": "2.13.0"}, "threads": 1}])


@pytest.fixture(scope="module")
def folder(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zh")
    saved = _speed(out / "speed.json")
    report = out / "report"
    reports.write(*small[:3], report, small.environments, saved, language="zh")
    return report


@pytest.fixture(scope="module")
def tuned(conftest: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = conftest.make_tuned(data=("digits", "mnist"), activations=("relu",))
    suite = replace(made.suite, description="", protocol="")
    out = tmp_path_factory.mktemp("tuned")
    reports.write(made.records, made.history, suite, out, made.environments, language="zh")
    return out


class _Visible(HTMLParser):
    """What one sees or hears of a page, and its headings; without code, scripts, titles of references."""

    SILENT = ("script", "style", "code", "cite")
    HEADS = ("h2", "h3", "h4", "dt", "caption", "figcaption", "summary", "option", "label", "noscript")

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.heads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.texts += [label for name in ("aria-label", "title") if (label := given.get(name))]
        column = tag == "th" and given.get("scope") == "col" and given.get("class") != "plot"
        if tag not in ("meta", "br", "line", "circle"):
            self.open.append("column" if column else tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() not in (tag, "column" if tag == "th" else tag):
            pass

    def handle_data(self, data: str) -> None:
        text = data.strip()
        if not text or set(self.open) & set(self.SILENT):
            return
        self.texts.append(text)
        if "nav" in self.open or set(self.open) & {*self.HEADS, "column"}:
            self.heads.append(text)


def _visible(html: str) -> _Visible:
    parser = _Visible()
    parser.feed(html)
    return parser


def _drawn(html: str) -> Iterator[str]:
    """Yield the texts of a page's charts: titles, tooltips and values."""
    found = re.search(r'id="charts">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    held = json.loads(found[1])
    yield from held["words"].values()
    yield from _titles(held["templates"])
    for choices in held["slots"].values():
        for chart in choices.values():
            rows = [[chart]] if isinstance(chart, str) else chart["values"]
            yield from (value for row in rows for value in row if isinstance(value, str))


def _titles(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (value[key] for key in ("title", "text") if isinstance(value.get(key), str))
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inside:
        yield from _titles(each)


def _left_over(texts: Iterator[str] | list[str]) -> list[str]:
    found = []
    for text in texts:
        for name in TITLES:
            text = text.replace(name, "")
        found += ENGLISH.findall(text)
    return found


def _is_chinese(text: str) -> bool:
    return re.search("[\u4e00-\u9fff]", text) is not None


@pytest.mark.parametrize("which", ["folder", "tuned"])
def test_the_page_is_chinese_and_no_english_is_left(which: str, request: pytest.FixtureRequest) -> None:
    html = (request.getfixturevalue(which) / "index.html").read_text(encoding="utf-8")

    seen = _visible(html)

    assert '<html lang="zh-CN">' in html
    assert len(seen.texts) > 300
    assert _left_over(seen.texts) == []
    assert _left_over(_drawn(html)) == []
    assert len(seen.heads) > 60
    plain = {head for head in seen.heads if not _is_chinese(head)} - NAMES - PLAIN
    assert {head for head in plain if not LABELS.fullmatch(head)} == set()


def test_summary_tables_and_figures_are_chinese(folder: Path, tuned: Path) -> None:
    for out in (folder, tuned):
        summary = (out / "summary.md").read_text(encoding="utf-8")
        code = re.sub(r"recipebench run .*", "", summary)
        assert _left_over(code.splitlines()) == []
        assert all(map(_is_chinese, re.findall(r"^## (.+)$", summary, re.MULTILINE)))
        for path in (out / "tables").glob("*.tex"):
            first = path.read_text(encoding="utf-8").partition("\n")[0]
            assert _is_chinese(first), path.name
            assert _left_over([first]) == [], path.name
        for path in (out / "figures").glob("*.svg"):
            texts = re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))
            assert _left_over(texts) == [], path.name


def test_frames_stay_as_they_are(folder: Path, small: Any) -> None:
    records = pd.read_csv(folder / "records.csv")
    means = pd.read_csv(folder / "tables" / "means.csv")
    verdicts = pd.read_csv(folder / "tables" / "verdicts.csv")

    assert set(small.records.columns) == set(records.columns)
    assert set(means["factor"]) == {"activation", "optimizer"}
    assert set(verdicts["verdict"]) <= {"supported", "refuted", "inconclusive"}
    assert {path.name.isascii() for path in folder.rglob("*")} == {True}


def test_a_figure_brings_every_chinese_character_that_it_shows(folder: Path, tuned: Path) -> None:
    figures = [*(folder / "figures").glob("*.svg"), *(tuned / "figures").glob("*.svg")]

    assert len(figures) > 15
    for path in figures:
        drawing = path.read_text(encoding="utf-8")
        shown = set(translate.HAN.findall("".join(re.findall(r"<text[^>]*>([^<]*)</text>", drawing))))
        (font,) = re.findall(r"@font-face \{[^}]*base64,([^)]+)\)", drawing)
        with TTFont(io.BytesIO(base64.b64decode(font))) as held:
            assert shown, path.name
            assert shown <= set(map(chr, held.getBestCmap())), path.name
        assert set(re.findall(r'font-family="([^",]+)', drawing)) == {f"'{fonts.FAMILY}'"}
        assert len(font) < 60_000, path.name


def test_a_figure_in_english_has_no_font(small: Any) -> None:
    bar = {"data": {"values": [{"a": "relu"}]}, "mark": "bar", "encoding": {"x": {"field": "a"}}}

    assert "@font-face" not in drawing.svg(charts.for_file(bar))
    with language.writing("zh"):
        assert "@font-face" not in drawing.svg(charts.for_file(bar))  # nothing Chinese is shown
        chinese = drawing.svg(charts.for_file(bar | {"title": "均值"}))
        assert chinese == drawing.svg(charts.for_file(bar | {"title": "均值"}))
    assert "@font-face" in chinese


def test_the_page_brings_the_font_and_nothing_else_may_be_loaded(folder: Path) -> None:
    html = (folder / "index.html").read_text(encoding="utf-8")
    (rule,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)

    assert "default-src &#39;none&#39;" in rule
    assert "font-src data:" in rule
    assert html.count("@font-face") == 1
    assert len(base64.b64encode(fonts.FILE.read_bytes())) < 300_000


def test_plug_ins_are_told_in_chinese() -> None:
    origin = f"optimizer lion: mine.py, SHA-256 {'ab' * 32}"
    records = pd.DataFrame({"cell_id": ["1", "2"], "plugins": [origin, None]})

    with language.writing("zh"):
        (told,) = sentences(records)

    assert told == f"优化器 lion（2 个单元中的 1 个）来自插件 mine.py，SHA-256 {'ab' * 32}。"


# Two languages in one process


def _brief(small: Any, name: str) -> str:
    with language.writing(name):
        return writer.summary(contents(*small[:3], small.environments))


def test_threads_with_different_languages_do_not_mix(small: Any) -> None:
    expected = {name: _brief(small, name) for name in language.LANGUAGES}
    together, found = threading.Barrier(3), []

    def work(name: str) -> None:
        together.wait()
        found.append((name, _brief(small, name)))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("en", "zh", "en")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(name for name, _ in found) == ["en", "en", "zh"]
    assert all(text == expected[name] for name, text in found)
    assert expected["en"].count("## Level means") == expected["zh"].count("## 各水平均值") == 1


def test_a_language_ends_with_its_block_even_after_an_error() -> None:
    with language.writing("zh"):
        assert language.gettext("Level means") == "各水平均值"
        with language.writing("en"):
            assert language.gettext("Level means") == "Level means"
        assert language.gettext("Level means") == "各水平均值"
    with pytest.raises(LookupError), language.writing("zh"):
        language.gettext("Nobody says this.")

    assert language.gettext("Level means") == "Level means"


def test_reports_in_turn_have_the_bytes_of_reports_alone(
    make_card: Callable[..., Any], tmp_path: Path
) -> None:
    made = make_card(
        data=("digits",), factors={"activation": (Choice("relu", {}),)}, seeds=2, epochs=2, troubled=False
    )

    def written(name: str, folder: str) -> dict[str, bytes]:
        out = tmp_path / folder
        reports.refresh(made.records, made.history, made.suite, out, made.environments, language=name)
        return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    first = written("en", "a")
    chinese = written("zh", "b")

    assert written("en", "c") == first
    assert written("zh", "a") == chinese  # in place of the English one: the stamp knows the language
    assert written("en", "a") == first
    assert chinese["records.csv"] == first["records.csv"]
    assert chinese["index.html"] != first["index.html"]


# Requests


def test_an_unknown_language_is_refused_before_anything_happens(small: Any, tmp_path: Path) -> None:
    message = "Unknown language 'zh_CN'. Known: en, zh. Did you mean 'zh'?"

    with pytest.raises(RequestError, match=re.escape(message)):
        reports.write(*small[:3], tmp_path / "out", small.environments, language="zh_CN")
    with pytest.raises(RequestError, match=re.escape(message)):
        reports.refresh(*small[:3], tmp_path / "out", small.environments, language="zh_CN")
    with pytest.raises(RequestError, match=re.escape(message)):
        rb.run("quick", store=tmp_path / "runs", language="zh_CN", quiet=True)
    with pytest.raises(RequestError, match=re.escape(message)):
        rb.report("quick", store=tmp_path / "runs", language="zh_CN")
    for verb in ("run", "report"):
        done = CliRunner().invoke(
            app, [verb, "quick", "--store", str(tmp_path / "runs"), "--language", "zh_CN"]
        )
        assert str(done.exception) == message

    assert list(tmp_path.iterdir()) == []


def test_run_and_report_write_chinese(tmp_path: Path) -> None:
    suite = {
        "name": "first",
        "data": ["digits"],
        "model": {"mlp": {"hidden": [4]}},
        "matrix": {"activation": ["sigmoid", "relu"]},
        "seeds": 1,
        "protocol": {"epochs": 1, "batch_size": 500},
    }
    rb.run(suite, store=tmp_path / "runs", workers=1, quiet=True, language="zh")
    summary = tmp_path / "runs" / "reports" / "first" / "summary.md"

    assert "digits：1 轮，批量大小 500，验证集 0.1，输入 unit" in summary.read_text(encoding="utf-8")
    rb.report(suite, store=tmp_path / "runs")
    assert "digits: 1 epochs, batches of 500" in summary.read_text(encoding="utf-8")


# In a browser

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

WITHOUT_CHINESE = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><include>/etc/fonts/fonts.conf</include><selectfont><rejectfont><pattern>
<patelt name="lang"><langset><string>zh-cn</string></langset></patelt>
</pattern></rejectfont></selectfont></fontconfig>"""
NARROWER_THAN_ITS_CHARACTERS = """[...document.querySelectorAll("nav a, h2, .totals dt")].filter((each) => {
  const text = each.firstChild.textContent.trim();
  const range = document.createRange();
  range.selectNodeContents(each.firstChild);
  const size = parseFloat(getComputedStyle(each).fontSize);
  return /^[\u4e00-\u9fff]+$/.test(text) && range.getBoundingClientRect().width < 0.9 * text.length * size;
}).map((each) => each.textContent)"""
"""Boxes in place of characters are narrower than these, which are squares."""


@pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome on PATH to open the page in")
def test_a_browser_without_chinese_fonts_shows_the_page(folder: Path, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="it brings axe-core")
    said: list[str] = []
    poor = tmp_path / "fonts.conf"
    poor.write_text(WITHOUT_CHINESE, encoding="utf-8")
    given = {**os.environ, "FONTCONFIG_FILE": str(poor)}
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"], env=given)
        opened = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True).new_page()
        opened.set_default_timeout(240_000)
        opened.on("console", lambda message: said.append(message.text))
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.goto((folder / "index.html").as_uri())
        opened.wait_for_selector("html[data-ready=yes]")
        opened.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        loaded = opened.evaluate(
            "(async () => [...await document.fonts.load('16px \"Recipebench Han SC\"', '均值')]"
            ".map((face) => face.status))()"
        )
        narrow = opened.evaluate(NARROWER_THAN_ITS_CHARACTERS)
        opened.get_by_role("button", name="数值：digits 上的配对效应").click()
        heads = opened.locator(".tools th").all_text_contents()
        with opened.expect_download() as waiting:
            opened.get_by_role("button", name="保存 SVG：digits 上的配对效应").click()
        name, drawing = (
            waiting.value.suggested_filename,
            Path(waiting.value.path()).read_text(encoding="utf-8"),
        )
        found = axe.Axe().run(opened).response
        browser.close()

    assert said == []
    assert loaded == ["loaded"]
    assert narrow == []
    assert heads[:2] == ["水平", "差异"]
    assert name == "paired_effects-digits-activation.svg"
    assert "@font-face" in drawing
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
    assert len(found["passes"]) > 20
