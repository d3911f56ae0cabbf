"""The page in a real browser without a network: charts are drawn, nothing is refused, names run no script."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipebench import reports
from recipebench.levels import Choice

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium or google-chrome on PATH to open the page in"
)

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
FACTORS = {
    "activation": (Choice("relu", {}), Choice("sigmoid", {})),
    "initializer": (Choice("xavier", {}), Choice("</script><img src=x onerror=document.title='owned'>", {})),
    "optimizer": (Choice("adam", {}), Choice('"><svg onload=document.title="owned">', {})),
}


def _open(page: Path, profile: Path) -> tuple[str, list[str]]:
    """Return the page's elements after its scripts ran, and what the console said."""
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return ran.stdout, [line for line in ran.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def page(card: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import sys

    make: Callable[..., Any] = sys.modules[type(card).__module__].make
    made = make(data=("digits", "mnist"), factors=FACTORS, epochs=5, seeds=2, name="<b>suite</b>")
    return reports.write(
        made.records, made.history, made.suite, tmp_path_factory.mktemp("page"), made.environments
    )


def test_every_chart_is_drawn_and_nothing_is_refused(page: Path, tmp_path: Path) -> None:
    dom, console = _open(page, tmp_path)

    assert console == []
    assert 'data-ready="yes"' in dom
    places = re.findall(r'data-slot="([^"]+)"[^>]*>(.{0,400})', dom, flags=re.DOTALL)
    assert len(places) == 2 + 2 + 4 + 2  # effects, pairs, curves, variance
    assert all("<svg" in inside for _, inside in places)
    assert "<title>&lt;b&gt;suite&lt;/b&gt; · recipebench</title>" in dom
    assert re.search(r"<output>8 of \d+ rows|<output>\d+ of \d+ rows", dom)


def test_a_changed_script_does_not_run(page: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.html"
    html = page.read_text(encoding="utf-8")
    changed.write_text(html.replace("drawAll();\n</script>", "drawAll(); \n</script>"), encoding="utf-8")

    dom, console = _open(changed, tmp_path / "profile")

    assert 'data-ready="yes"' not in dom
    assert any("Content Security Policy" in line for line in console)
