"""The processes that draw: the same drawings as in this one, and what becomes of them when they fail."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]

from recipebench.benchmarks.agenda import agenda
from recipebench.benchmarks.reporting import describe
from recipebench.benchmarks.results import records_of
from recipebench.benchmarks.store import Store
from recipebench.benchmarks.suite import load_suite, shipped
from recipebench.levels import Choice
from recipebench.reports import charts, drawing, fonts
from recipebench.reports.drawing import Drawing
from recipebench.reports.suite_info import RegisteredClaim
from recipebench.reports.writer import shown_names


def _bar(level: str) -> dict[str, Any]:
    values = [{"level": level, "mean": 1.0}]
    encoding = {"x": {"field": "level"}, "y": {"field": "mean", "type": "quantitative"}}
    return charts.for_file({"data": {"values": values}, "mark": "bar", "encoding": encoding})


def test_the_processes_draw_what_this_one_draws() -> None:
    specs = {"b.svg": _bar("relu"), "a.svg": _bar("é\0\ud800<&>")}

    with Drawing("en", names="层") as drawn:  # measured by the fonts of the machine, as here
        for name, spec in specs.items():
            drawn.draw(name, spec)
        script, figures = drawn.script(), drawn.finish()

    assert script == drawing.javascript()
    assert figures == {name: drawing.svg(spec) for name, spec in specs.items()}
    assert list(figures) == ["b.svg", "a.svg"]


@pytest.mark.skipif(sys.platform != "linux", reason="fontconfig tells which fonts a machine has")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_latin_names_make_the_same_figure_whatever_fonts_a_machine_has(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def height(names: str) -> int:
        with Drawing(language, names) as drawn:
            drawn.draw("bar.svg", _bar("relu" * 9))
            (told,) = drawn.finish().values()
        return int(ElementTree.fromstring(told).attrib["height"])

    here = height("relu, maxout")
    _write_arial(tmp_path / "arial.ttf", advance=2000)
    head = '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
    (tmp_path / "fonts.conf").write_text(f"{head}<fontconfig><dir>{tmp_path}</dir></fontconfig>", "utf-8")
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))

    assert height("relu, maxout") == here
    assert height("relu, 层") > here


def _write_arial(path: Path, advance: int) -> None:
    """Write a font called Arial whose Latin letters have no outline and one width."""
    letters = {ord(letter): letter for letter in "abcdefghijklmnopqrstuvwxyz"}
    names = [".notdef", *letters.values()]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(letters)
    builder.setupGlyf({name: TTGlyphPen(None).glyph() for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (advance, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Arial", "styleName": "Regular", "psName": "Arial"})
    builder.setupOS2(sTypoAscender=800, sTypoDescender=-200)
    builder.setupPost()
    builder.save(path)


def test_what_cannot_be_drawn_is_told() -> None:
    with Drawing("en") as drawn:
        drawn.draw("bar.svg", {"mark": 3})
        drawn.script()
        with pytest.raises(RuntimeError, match=r"(?s)exit code 1: .*Traceback"):
            drawn.finish()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_killed_processes_are_told_and_keep_nobody_waiting() -> None:
    with Drawing("en") as drawn:
        for position in range(1000):
            drawn.draw(f"{position}.svg", _bar("relu" * 100))
        for process in drawn._all:
            process._process.send_signal(signal.SIGKILL)
        with pytest.raises(RuntimeError, match="exit code -9"):
            drawn.finish()


def test_leaving_early_ends_the_processes() -> None:
    with Drawing("en") as drawn:
        for position in range(100):
            drawn.draw(f"{position}.svg", _bar("relu"))

    assert all(process._process.poll() is not None for process in drawn._all)
    assert drawn._pool._shutdown


def test_it_imports_neither_torch_nor_pandas_nor_scipy() -> None:
    code = "import sys, json, recipebench.reports.drawing; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "pandas", "scipy"} & set(json.loads(done.stdout))


@pytest.mark.parametrize("name", shipped())
def test_figures_of_shipped_suites_need_no_font_of_the_machine(name: str, tmp_path: Path) -> None:
    suite, store = load_suite(name), Store(tmp_path)
    plan = agenda(suite, store)

    names = shown_names(records_of(suite, store, plan), describe(suite, plan, ""))

    assert set(suite.levels()["data"][0].name) <= set(names)
    assert fonts.machine_free(names)


def test_names_of_levels_data_sets_and_claims_tell_which_fonts_are_needed(card: Any) -> None:
    records, _, suite, _ = card
    sides: dict[str, Any] = {
        "first": (Choice("relu", {}),),
        "second": (Choice("tanh", {}),),
        "data": (Choice("mnist", {}),),
    }
    claimed = replace(suite, claims=(RegisteredClaim(name="层 > relu", axis="activation", **sides),))
    varied = records.assign(**{"data.source": "数据"})

    found = [fonts.machine_free(shown_names(r, s)) for r, s in ((records, suite), (varied, suite))]

    assert found == [True, False]
    assert not fonts.machine_free(shown_names(records, claimed))
