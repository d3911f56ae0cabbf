"""The files of a report: which they are, that they read back, and that they repeat to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from recipebench import reports
from recipebench.levels import Choice
from recipebench.reports import export, writer
from recipebench.reports.contents import contents
from recipebench.reports.suite_info import Endpoint
from recipebench.reports.views import Group, Row, View

FACTORS = {
    "activation": (Choice("relu", {}), Choice("sigmoid", {})),
    "initializer": (Choice("xavier", {}), Choice("he", {})),
}


@pytest.fixture(scope="module")
def small(card: Any) -> Any:
    make = sys.modules[type(card).__module__].make
    return make(data=("digits",), factors=FACTORS, epochs=4)


@pytest.fixture(scope="module")
def out(small: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    page = reports.write(small.records, small.history, small.suite, folder, small.environments)

    assert page == folder / "index.html"
    return folder


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_all_files_are_written(out: Path) -> None:
    files = set(_bytes(out))

    assert files == {
        "index.html",
        "report.json",
        "summary.md",
        "records.csv",
        "records.parquet",
        "history.parquet",
        "figures/curves-digits-activation.svg",
        "figures/curves-digits-initializer.svg",
        "figures/factor_means-digits.svg",
        "figures/pairs-digits-activation-initializer.svg",
        "figures/interaction-digits-activation-initializer.svg",
        "figures/paired_effects-digits-activation.svg",
        "figures/paired_effects-digits-initializer.svg",
        "figures/variance_shares-digits.svg",
        *(f"tables/{name}.tex" for name in ("paired_effects-digits", "variance_shares")),
        *(f"tables/{name}.csv" for name in ("paired_effects", "variance_shares")),
        *(f"tables/{name}.tex" for name in ("best-digits", "factor_means-digits", "status", "reasons")),
        "tables/within-digits.tex",
        "tables/within.csv",
        *(f"tables/{name}.tex" for name in ("cost", "machines", "outcomes")),
        *(f"tables/{name}.csv" for name in ("best", "cost", "counts", "curves", "machines", "means")),
        *(f"tables/{name}.csv" for name in ("outcomes", "pairs", "reasons", "recipes", "spreads")),
    }


def test_frames_read_back(small: Any, out: Path) -> None:
    order = small.records.set_index("cell_id")

    for frame in (pd.read_parquet(out / "records.parquet"), pd.read_csv(out / "records.csv")):
        found = frame.set_index("cell_id").loc[order.index]
        assert list(found.columns) == list(order.columns)
        pd.testing.assert_series_equal(found["test_accuracy_at_best"], order["test_accuracy_at_best"])
        assert found["status"].tolist() == order["status"].tolist()
    assert len(pd.read_parquet(out / "history.parquet")) == len(small.history)
    means = pd.read_csv(out / "tables" / "means.csv")
    assert means["mean"].tolist() == contents(*small).means["mean"].tolist()


def test_figures_are_drawings_without_scripts(out: Path) -> None:
    for figure in (out / "figures").iterdir():
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(figure).iter()}
        assert {"svg", "path", "text"} <= tags
        assert not {"script", "image", "foreignObject", "a"} & tags


def test_summary_tells_the_headline_and_the_means(small: Any, out: Path) -> None:
    text = (out / "summary.md").read_text(encoding="utf-8")
    found = contents(*small)

    for sentence in found.headline.lines:
        assert export.markdown_text(sentence) in text
    for _, row in found.means.iterrows():
        assert f"| {row['level']} | {100 * row['mean']:.2f} |" in text


def test_tables_are_booktabs(out: Path) -> None:
    text = (out / "tables" / "factor_means-digits.tex").read_text(encoding="utf-8")

    assert [text.count(rule) for rule in (r"\toprule", r"\bottomrule", r"\end{tabular}")] == [1, 1, 1]
    body = text.split(r"\toprule")[1]
    rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {5}


def test_latex_and_markdown_hold_hostile_names_back() -> None:
    nasty = "\\input{x}%\n\\end{tabular}|<b>`_*[a](b)"
    view = View(
        name="v",
        caption=nasty,
        columns=[nasty],
        numeric=[False],
        groups=[Group(nasty, [Row([nasty], [None])])],
    )

    latex, markdown = export.tex(view), export.markdown(view)

    code = [line for line in latex.splitlines() if not line.startswith("%")]
    assert sum(line.count(r"\end{tabular}") for line in code) == 1
    assert not any(line.startswith(("[", "*")) for line in code)
    assert not any(line.startswith(r"\input") for line in code)
    assert [line for line in latex.splitlines() if line.startswith("%")] == [f"% {export.one_line(nasty)}"]
    assert "<b>" not in markdown
    assert len(markdown.splitlines()) == 6


def test_the_same_input_gives_the_same_bytes(small: Any, out: Path, tmp_path: Path) -> None:
    records = small.records.sample(frac=1, random_state=3)
    history = small.history.sample(frac=1, random_state=4)

    reports.write(records, history, small.suite, tmp_path, small.environments)

    assert _bytes(tmp_path) == _bytes(out)


def test_another_process_gives_the_same_bytes(out: Path, tmp_path: Path) -> None:
    code = (
        "import importlib.util, sys; from pathlib import Path\n"
        "spec = importlib.util.spec_from_file_location('synthetic', sys.argv[1])\n"
        "made = importlib.util.module_from_spec(spec); sys.modules['synthetic'] = made\n"
        "spec.loader.exec_module(made)\n"
        "pick = {'activation': ('relu', 'sigmoid'), 'initializer': ('xavier', 'he')}\n"
        "factors = {f: tuple(made.Choice(n, {}) for n in names) for f, names in pick.items()}\n"
        "card = made.make(data=('digits',), factors=factors, epochs=4)\n"
        "from recipebench import reports\n"
        "reports.write(card.records, card.history, card.suite, Path(sys.argv[2]), card.environments)\n"
        "assert 'torch' not in sys.modules\n"
    )
    synthetic = Path(__file__).with_name("conftest.py")

    subprocess.run(
        [sys.executable, "-c", code, str(synthetic), str(tmp_path)],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "12345"},
    )

    assert _bytes(tmp_path) == _bytes(out)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.html"
    writer.replace(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        writer.replace(path, b"new")

    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"index.html": b"old"}


def test_names_of_data_sets_and_factors_stay_inside_the_folder(
    make_card: Callable[..., Any], tmp_path: Path
) -> None:
    card = make_card(data=("digits",), factors=FACTORS, epochs=2, seeds=2, troubled=False)
    hostile = "../../../../x/\x00<"
    endpoint = Endpoint(column="test_accuracy_at_best", direction="higher", chance=0.1)
    suite = replace(card.suite, endpoints={hostile: endpoint}, factors={hostile: FACTORS["activation"]})
    records = card.records[card.records["initializer"] == "he"].assign(data=hostile)
    records = records.rename(columns={"activation": hostile})
    history = card.history[card.history["cell_id"].isin(records["cell_id"])]

    reports.write(records, history, replace(suite, planned=len(records)), tmp_path / "out", [])

    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert {p.parent.name for p in (tmp_path / "out").rglob("*.svg")} == {"figures"}


def test_mixed_columns_survive_in_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"hidden": [[128, 64], [7], None], "mixed": ["a", 1, None], "text": ["x", None, "ü"]}
    )

    (tmp_path / "frame.parquet").write_bytes(export.parquet(frame))

    found = pd.read_parquet(tmp_path / "frame.parquet")
    assert [None if v is None else list(v) for v in found["hidden"]] == [[128, 64], [7], None]
    assert found["mixed"].tolist()[:2] == ['"a"', "1"]
    assert found["text"].tolist()[::2] == ["x", "ü"]


def test_an_unknown_export_is_an_attribute_error() -> None:
    assert {"SuiteInfo", "Endpoint", "write"} <= set(dir(reports))
    with pytest.raises(AttributeError, match="has no attribute 'wirte'"):
        reports.wirte  # noqa: B018


def test_a_report_that_stands_is_left_alone_until_something_changes(small: Any, tmp_path: Path) -> None:
    def refresh(records: pd.DataFrame) -> Path:
        return reports.refresh(records, small.history, small.suite, tmp_path, small.environments)

    page = refresh(small.records)
    whole = _bytes(tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

    refresh(small.records)
    assert {path: path.stat().st_mtime_ns for path in times} == times

    page.write_text("broken")
    refresh(small.records)
    assert _bytes(tmp_path) == whole

    (tmp_path / "report.json").write_text("[]")
    refresh(small.records.assign(parameters=small.records["parameters"] + 1))
    assert (tmp_path / "records.csv").read_bytes() != whole["records.csv"]
