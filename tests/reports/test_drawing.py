"""The processes that draw: the same drawings as in this one, and what becomes of them when they fail."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from recipebench.reports import charts, drawing
from recipebench.reports.drawing import Drawing


def _bar(level: str) -> dict[str, Any]:
    values = [{"level": level, "mean": 1.0}]
    encoding = {"x": {"field": "level"}, "y": {"field": "mean", "type": "quantitative"}}
    return charts.for_file({"data": {"values": values}, "mark": "bar", "encoding": encoding})


def test_the_processes_draw_what_this_one_draws() -> None:
    specs = {"b.svg": _bar("relu"), "a.svg": _bar("é\0\ud800<&>")}

    with Drawing("en") as drawn:
        for name, spec in specs.items():
            drawn.draw(name, spec)
        script, figures = drawn.script(), drawn.finish()

    assert script == drawing.javascript()
    assert figures == {name: drawing.svg(spec) for name, spec in specs.items()}
    assert list(figures) == ["b.svg", "a.svg"]


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


def test_it_imports_neither_torch_nor_pandas_nor_altair() -> None:
    code = "import sys, json, recipebench.reports.drawing; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "pandas", "altair", "scipy"} & set(json.loads(done.stdout))
