"""The page as it is used, in headless Chromium without a network: no barrier, no request, all tools work."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from recipebench import reports
from recipebench.levels import Choice
from recipebench.reports.suite_info import Endpoint, Targets

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
Axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="it brings axe-core").Axe

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium or google-chrome on PATH to open the page in"
)

HOSTILE = '"><img src=x onerror=document.title="owned">'
FACTORS = {
    "activation": tuple(Choice(name, {}) for name in ("sigmoid", "relu", "tanh", HOSTILE)),
    "initializer": (Choice("xavier", {}), Choice("he", {})),
    "optimizer": (Choice("sgd", {}), Choice("adam", {})),
}
CRITERION = {
    data: Endpoint(column="validation_accuracy_at_best", direction="higher", chance=0.1)
    for data in ("digits", "mnist")
}
WIDE, NARROW = (1280, 900), (420, 900)


@pytest.fixture(scope="module")
def folder(card: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[..., Any] = sys.modules[type(card).__module__].make
    made = make(data=("digits", "mnist"), factors=FACTORS, epochs=5, seeds=3, troubled=False)
    suite = replace(made.suite, targets=Targets(share=0.9, criterion=CRITERION))
    out = tmp_path_factory.mktemp("page")
    reports.write(made.records, made.history, suite, out, made.environments)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield running
        running.close()


class Opened:
    """A page with what it said on the console and what it asked for."""

    def __init__(
        self, browser: Any, folder: Path, size: tuple[int, int] = WIDE, scheme: str = "light"
    ) -> None:
        width, height = size
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto((folder / "index.html").as_uri())
        self.page.wait_for_selector("html[data-ready=yes]")

    def saved(self, name: str) -> tuple[str, str]:
        """Press the button of this accessible name; return the file's name and text."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=name, exact=True).click()
        file = waiting.value
        return file.suggested_filename, Path(file.path()).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def opened(browser: Any, folder: Path) -> Iterator[Opened]:
    one = Opened(browser, folder)
    yield one
    one.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_axe_finds_no_barrier_and_nothing_is_asked_for(
    browser: Any, folder: Path, size: tuple[int, int], scheme: str
) -> None:
    one = Opened(browser, folder, size, scheme)
    one.page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    one.page.get_by_role("button", name="Numbers: Paired effects on digits").click()

    found = Axe().run(one.page).response

    assert len(found["passes"]) > 20
    assert {rule["id"] for rule in found["passes"]} >= {"color-contrast", "landmark-one-main", "region"}
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
    across = one.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert across[0] <= across[1]
    assert one.said == []
    assert [url for url in one.asked if not url.startswith(("file:", "blob:"))] == []
    assert one.page.title() == "core · recipebench"
    assert one.page.locator("img").count() == 0
    one.context.close()


def test_every_chart_is_drawn(opened: Opened) -> None:
    places = opened.page.locator("[data-slot]")

    assert places.count() == 2 + 1 + 1 + 2 + 2 + 4
    for i in range(places.count()):
        assert places.nth(i).locator("svg[aria-hidden=true]").count() == 1
        assert places.nth(i).get_attribute("role") == "img"
        assert "; the " in (places.nth(i).get_attribute("aria-label") or "")


def test_a_table_is_sorted_filtered_and_saved_as_it_stands(opened: Opened, folder: Path) -> None:
    table = opened.page.locator("#table-factor_means-digits")
    first, second = opened.saved("Save CSV: table factor_means-digits")
    rows = list(csv.reader(io.StringIO(second)))
    whole = opened.saved("Save LaTeX: table factor_means-digits")

    assert first == "factor_means-digits.csv"
    assert rows[0][:3] == ["group", "level", "mean, %"]
    assert [row[1] for row in rows[1:5]] == ["sigmoid", "relu", "tanh", HOSTILE]
    assert whole[1] == (folder / "tables" / "factor_means-digits.tex").read_text(encoding="utf-8")

    button = table.get_by_role("button", name="mean, %")
    button.click()
    means = [
        float(text) for text in table.locator("tbody").first.locator("tr td:nth-child(2)").all_inner_texts()
    ]
    assert means == sorted(means)
    assert table.locator("th[aria-sort=ascending]").count() == 1
    button.click()
    downward = table.locator("tbody").first.locator("tr td:nth-child(2)").all_inner_texts()
    assert [float(text) for text in downward] == means[::-1]
    assert table.locator("tbody").first.locator("tr").first.inner_text().strip() == "activation"


def test_rows_are_found_by_words(opened: Opened) -> None:
    page = opened.page
    page.get_by_text("Show the table").click()
    page.locator("#recipes input[type=search]").fill("tanh he adam")

    shown = page.locator("#table-all_recipes tbody tr:visible")
    assert shown.count() == 2
    assert all("tanh" in text for text in shown.all_inner_texts())
    assert page.locator("#recipes output").inner_text() == "2 of 32 rows"
    assert len(opened.saved("Save CSV: table all_recipes")[1].splitlines()) == 3
    page.locator("#recipes input[type=search]").fill("")
    assert shown.count() == 32


def test_a_chart_is_saved_with_its_legend(opened: Opened) -> None:
    name, text = opened.saved("Save SVG: Learning curves on digits, train split")

    assert name == "curves-digits-train-activation-accuracy.svg"
    elements = list(ElementTree.fromstring(text).iter())
    texts = {element.text for element in elements if element.text}
    assert {"relu", "tanh", "accuracy"} <= texts
    assert any(each.startswith(HOSTILE[:8]) for each in texts)  # a long name is cut
    assert {element.tag.rpartition("}")[2] for element in elements} <= {
        "svg",
        "g",
        "path",
        "text",
        "defs",
        *_CLIPS,
    }


_CLIPS = ("clipPath", "rect", "line")


def test_pointing_shows_values_and_highlights_one_level_everywhere(opened: Opened) -> None:
    page = opened.page
    place = page.locator('[data-slot="curves-0-train"]')
    place.scroll_into_view_if_needed()
    place.locator("svg .mark-symbol path").first.hover(force=True)

    tip = page.locator(".tip")
    tip.wait_for(state="visible")
    assert "mean" in tip.inner_text()
    page.wait_for_function(_faint_lines("curves-1-validation", 3))
    page.mouse.move(5, 5)
    page.wait_for_function(_faint_lines("curves-1-validation", 0))


def _faint_lines(place: str, count: int) -> str:
    lines = f"[...document.querySelectorAll('[data-slot=\"{place}\"] .mark-line path')]"
    return f'{lines}.filter((line) => line.getAttribute("opacity") === "0.15").length === {count}'


def test_a_level_is_hidden_by_its_button_in_the_legend(opened: Opened) -> None:
    page = opened.page
    toggle = page.locator("#curves .legend:visible").get_by_role("button", name="relu", exact=True)
    lines = "document.querySelectorAll('#curves .mark-line path').length"
    assert page.evaluate(lines) == 4 * 4

    toggle.focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"{lines} === {4 * 3}")
    assert toggle.get_attribute("aria-pressed") == "false"
    page.keyboard.press("Enter")
    page.wait_for_function(f"{lines} === {4 * 4}")


def test_another_factor_is_drawn_when_it_is_chosen(opened: Opened) -> None:
    page = opened.page
    page.locator("#curves select").first.select_option(label="initializer")
    page.wait_for_function("document.querySelectorAll('#curves .mark-line path').length === 8")

    assert page.locator("#curves .legend:visible button").all_inner_texts() == ["xavier", "he"]
    page.locator("#pairs select").nth(1).select_option("apart")
    page.wait_for_function("/ω² = /.test(document.querySelector('#pairs .chart').textContent)")
    place = page.locator("#pairs .chart").first
    place.locator(".mark-rect path").first.hover(force=True)
    assert "departure" in page.locator(".tip").inner_text()
    name, _ = opened.saved("Save SVG: Grid of means on digits")
    assert name == "pairs-digits-activation-initializer-interaction.svg"


def test_the_numbers_of_a_chart_are_listed(opened: Opened) -> None:
    page = opened.page
    button = page.get_by_role("button", name="Numbers: Paired effects on mnist")
    button.click()

    listed = page.get_by_role("region", name="Numbers: Paired effects on mnist")
    assert listed.locator("th").all_inner_texts() == [
        "level",
        "difference",
        "95 % interval",
        "P(better)",
        "blocks",
    ]
    assert listed.locator("tbody tr").count() == 3
    button.click()
    assert listed.count() == 0


def test_it_prints_without_its_tools(opened: Opened) -> None:
    opened.page.emulate_media(media="print")

    assert not opened.page.locator(".tools").first.is_visible()
    assert not opened.page.locator("nav").is_visible()
    assert opened.page.locator("#curves .legend:not([hidden])").is_visible()
    assert opened.page.pdf().startswith(b"%PDF")
    opened.page.emulate_media(media="screen")
    assert opened.said == []
