"""What is published is what was trained, bit for bit, and says nothing of where a machine keeps its files."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docs_scripts import load

import recipebench
from recipebench.benchmarks.store import Store

ROOT = Path(__file__).parents[1]
SUITE: dict[str, Any] = {
    "name": "t",
    "data": ["iris"],
    "matrix": {"optimizer": [{"sgd": {"lr": 0.1}}, {"sgd": {"lr": 1e30}}], "model": ["softmax_regression"]},
    "seeds": 2,
    "protocol": {"epochs": 2},
    "probes": ["weights"],
}


@pytest.fixture(scope="module")
def publish() -> ModuleType:
    return load("publish")


def test_it_copies_every_cell_once_and_no_path(
    publish: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECIPEBENCH_DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/recipebench", "run", "t"])
    recipebench.run(SUITE, store=tmp_path / "all", workers=1)
    recipebench.run({**SUITE, "seeds": 1}, store=tmp_path / "part", workers=1)

    count = publish.publish([tmp_path / "part", tmp_path / "all"], tmp_path / "runs", [SUITE])

    published = Store(tmp_path / "runs")
    assert count == 4
    assert published.digest() == Store(tmp_path / "all").digest()
    texts = [path.read_text() for path in (tmp_path / "runs" / "environments").iterdir()]
    assert {json.loads(text)["command_line"][0] for text in texts} == {"recipebench"}
    assert not [text for text in texts if str(tmp_path) in text or "somewhere" in text]


def test_without_stores_only_the_pages_are_written(
    publish: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[Path, Path]] = []
    monkeypatch.setattr("sys.argv", ["publish.py"])
    monkeypatch.setattr(publish, "publish", lambda *_: pytest.fail("cells were published"))
    monkeypatch.setattr(publish, "write_pages", lambda *given: written.append(given))

    publish.main()

    assert written == [(publish.RUNS, publish.EXAMPLES)]


def test_what_was_published_stays(publish: ModuleType, tmp_path: Path) -> None:
    recipebench.run(SUITE, store=tmp_path / "all", workers=1)
    publish.publish([tmp_path / "all"], tmp_path / "runs", [SUITE])
    before = Store(tmp_path / "runs").digest()

    assert publish.publish([], tmp_path / "runs", [SUITE]) == 4
    assert Store(tmp_path / "runs").digest() == before
