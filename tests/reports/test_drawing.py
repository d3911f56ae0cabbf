"""The process that draws: the same drawings as in this one, and what becomes of it when it fails."""

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


def test_the_process_draws_what_this_one_draws() -> None:
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
def test_a_killed_process_is_told_and_keeps_nobody_waiting() -> None:
    with Drawing("en") as drawn:
        drawn._process.send_signal(signal.SIGKILL)
        for position in range(1000):
            drawn.draw(f"{position}.svg", _bar("relu" * 100))
        with pytest.raises(RuntimeError, match="exit code -9"):
            drawn.script()


def test_leaving_early_ends_the_process() -> None:
    with Drawing("en") as drawn:
        drawn.draw("bar.svg", _bar("relu"))

    assert drawn._process.poll() is not None
    assert not any(thread.is_alive() for thread in drawn._threads)


def test_it_imports_neither_torch_nor_pandas_nor_altair() -> None:
    code = "import sys, json, recipebench.reports.drawing; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"torch", "pandas", "altair", "scipy"} & set(json.loads(done.stdout))
