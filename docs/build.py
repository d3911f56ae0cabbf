"""Renews what the pages take from the code, from measurements and from a real report.

Between `<!-- begin NAME -->` and `<!-- end NAME -->` a page holds what `BLOCKS[NAME]` returns.

    python docs/build.py            renew all blocks
    python docs/build.py --check    change nothing; exit 1 where a block is stale
    python docs/build.py --measure  first train `quick` in an empty store, time it, and picture its report
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer
import yaml

from recipebench.benchmarks import agenda, cells, environment, packs, suite
from recipebench.benchmarks.cli import app
from recipebench.benchmarks.combinations import RECIPE
from recipebench.benchmarks.records import MAIN_METRIC, METRICS
from recipebench.datamodules.catalog import DATA, FACTS, facts_of, split_sizes
from recipebench.levels import Catalog, Level, Parameter
from recipebench.lightning_modules.model_catalog import MODELS, NEEDS, ModelLevel

ROOT = Path(__file__).resolve().parent.parent
READMES = (ROOT / "README.md", ROOT / "README.zh-CN.md")
PAGES = (*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
CHINESE = ROOT / "docs" / "readme.zh-CN.json"
"""By hand: the Chinese of every question and summary that the code has in English."""

QUICK = ROOT / "docs" / "quick.json"
SPEED = ROOT / "docs" / "speed.json"
SCALE = ROOT / "docs" / "scale.json"
REPORT = ROOT / "docs" / "report.json"
RATES = ROOT / "docs" / "rates.json"
TRACKING = ROOT / "docs" / "tracking.json"
GPU = ROOT / "docs" / "gpu.json"
IMAGES = ROOT / "docs" / "images"

FIGURES = ("curves-digits-activation.svg", "pairs-digits-activation-initializer.svg")
"""Charts of the quick report that the pages show."""

LARGEST_PICTURE = 400_000
"""Bytes."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WITHOUT_NETWORK = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--virtual-time-budget=20000", "--host-resolver-rules=MAP * ~NOTFOUND"),
)

_BLOCK = re.compile(r"(<!-- begin ([a-z_ -]+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Return a Markdown table.

    Example:
        >>> print(table(["a", "b"], [["1", "x|y"]]))
        | a | b |
        | --- | --- |
        | 1 | x\|y |
    """
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# From the code


def _levels(catalog: Catalog) -> str:
    rows = [
        (_code(level.name), level.summary, _code(level.formula), _parameters(level), level.source)
        for level in catalog.values()
    ]
    return table(("level", "what it does", "formula", "hyper-parameters and defaults", "source"), rows)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _parameters(level: Level) -> str:
    return "<br>".join(map(_parameter, level.parameters))


def _parameter(parameter: Parameter) -> str:
    default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
    return f"`{parameter.name}: {default}` {parameter.summary.rstrip('.').lower()}"


def _models() -> str:
    rows = []
    for name, level in MODELS.items():
        assert isinstance(level, ModelLevel)
        rows.append(
            (
                _code(name),
                level.summary,
                ", ".join(level.tasks),
                _fitting(level),
                _factors(level),
                ", ".join(NEEDS[need][0] for need in level.needs),
            )
        )
    return table(("model", "what it is", "task", "fitted", "responds to", "needs"), rows)


def _fitting(level: ModelLevel) -> str:
    if level.one_pass:
        return "in one pass"
    return "by an optimizer" if "optimizer" in level.factors else "by a rule of its own"


def _factors(level: ModelLevel) -> str:
    """Name the factors of a model, or those that it lacks where they are fewer."""
    lacking = [factor for factor in RECIPE if factor not in level.factors]
    if not lacking:
        return "all factors"
    if not level.factors:
        return "none"
    if len(lacking) < len(level.factors):
        return f"all but {', '.join(lacking)}"
    return ", ".join(map(partial(_factor, level), level.factors))


def _factor(level: ModelLevel, factor: str) -> str:
    known = level.only.get(factor)
    return f"{factor} ({', '.join(known)})" if known else factor


def _details(catalog: Catalog) -> str:
    rows = [
        (_code(level.name), _code(level.formula), _parameters(level), level.source)
        for level in catalog.values()
    ]
    return table((catalog.kind, "formula", "hyper-parameters and defaults", "source"), rows)


def _data() -> str:
    rows = []
    for name, level in DATA.items():
        facts = FACTS[name]
        rows.append((_code(name), level.summary, facts.task, _sample(name), _size(name), _download(name)))
    header = ("data", "what it is", "task", "one sample", "train / validation / test", "download")
    return table(header, rows)


def _sample(name: str) -> str:
    """Say what one sample is, and what is to be told of it."""
    facts = FACTS[name]
    shape = " × ".join(map(str, facts.shape))
    numbers = f"{shape} pixels" if len(facts.shape) == 3 else f"{shape} number{'s' * (facts.shape != (1,))}"
    if facts.classes:
        return f"{numbers}, {facts.classes} classes"
    return f"{numbers}, {facts.actions} actions" if facts.actions else numbers


def _size(name: str) -> str:
    """Say how many samples there are; what has none is walked or played by steps."""
    choice = DATA.choose(name)
    if "steps_per_epoch" in choice.parameters:
        return f"{choice.parameters['steps_per_epoch']} steps an epoch"
    sizes = split_sizes(choice)
    return f"{sizes.train:,} / {sizes.validation:,} / {sizes.test:,}"


def _download(name: str) -> str:
    files = facts_of(DATA.choose(name)).files
    return f"{sum(file.size for file in files) / 2**20:.0f} MiB" if files else "nothing"


def _origins() -> str:
    rows = [(_code(name), facts.license, facts.source, facts.citation) for name, facts in FACTS.items()]
    return table(("data", "license", "from", "cite"), rows)


def _by_task(header: Sequence[str], say: Callable[[str], str] = str) -> str:
    rows = []
    for task in METRICS:
        names = [[n for n, level in catalog.items() if task in level.tasks] for catalog in (DATA, MODELS)]
        rows.append((say(task), *(", ".join(map(_code, found)) for found in names)))
    return table(header, rows)


def _metrics() -> str:
    rows = [
        (task, ", ".join(map(_code, metrics)), _code(MAIN_METRIC[task])) for task, metrics in METRICS.items()
    ]
    return table(("task", "metrics of every split", "stands in for an endpoint of another task"), rows)


def _suites() -> str:
    rows = []
    for name in suite.shipped():
        loaded = suite.load_suite(name)
        planned = agenda.agenda(loaded).planned
        data = ", ".join(loaded.data_names())
        rows.append((_code(name), loaded.description, f"{len(planned):,}", data))
    return table(("suite", "what is trained", "cells", "data"), rows)


def question(name: str) -> str:
    """Return the question of a shipped suite, as its opening comment asks it."""
    opening = suite.shipped()[name].read_text(encoding="utf-8").partition("\n")[0]
    found = re.fullmatch(rf"# {name}: (.+\?)", opening)
    if not found:
        sys.exit(f"{name}.yaml: expected the first line `# {name}: <a question?>`, got {opening!r}.")
    return found[1][0].upper() + found[1][1:]


def chinese(text: str) -> str:
    """Return the Chinese of a text of the code, which somebody has written by hand."""
    known: dict[str, str] = json.loads(CHINESE.read_text(encoding="utf-8"))
    if text not in known:
        sys.exit(f"{CHINESE.name}: expected the Chinese of {text!r}; write it there.")
    return known[text]


def _questions(header: Sequence[str], say: Callable[[str], str] = str) -> str:
    rows = [(_code(f"recipebench run {name}"), say(question(name))) for name in suite.shipped()]
    return table(header, rows)


def _commands(header: Sequence[str], say: Callable[[str], str] = str) -> str:
    rows = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join(
            [name, *(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)]
        )
        options = [f"`{p.opts[0]}`" for p in command.params if p.param_type_name == "option"]
        rows.append((f"`recipebench {usage}`", say(command.help), ", ".join(options)))
    return table(header, rows)


def _counted() -> dict[str, int]:
    counted = {_plural(factor): catalog for factor, catalog in RECIPE.items()}
    counted |= {"models": MODELS, "data sets": DATA}
    return {name: len(catalog) for name, catalog in counted.items()}


def _counts() -> str:
    *most, last = [f"{count} {name}" for name, count in _counted().items()]
    return f"On board: {', '.join(most)} and {last}; `recipebench list` tells each one's formula and source."


def _counts_zh() -> str:
    told = "、".join(f"{count} {chinese(name)}" for name, count in _counted().items())
    return f"内置 {told}；`recipebench list` 给出每一项的公式与出处。"


def _plural(factor: str) -> str:
    return f"{factor}es" if factor.endswith("s") else f"{factor}s"


def example_suite() -> dict[str, Any]:
    """Return the suite that the README shows."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = [b for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if b.startswith("name:")]
    loaded: dict[str, Any] = yaml.safe_load(found)
    return loaded


def _example(told: str) -> str:
    planned = list(cells.expand(suite.load_suite(example_suite())))
    return told.format(
        recipes=len({tuple(c.columns()[f] for f in RECIPE if f != "loss") for c in planned}),
        sets=len({cell.data.name for cell in planned}),
        seeds=len({cell.seed for cell in planned}),
        cells=f"{len(planned):,}",
    )


def _packed_layers() -> str:
    from recipebench.lightning_modules.packed.layers import pack_layer

    rows = [
        (
            f"`nn.{plain.__name__}`" if plain.__module__.startswith("torch.") else f"`{plain.__name__}`",
            _first_line(form),
        )
        for plain, form in pack_layer.registry.items()
        if plain is not object and not plain.__module__.startswith("plugin_")
    ]
    return table(("plain layer", "in a pack"), sorted(rows))


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").partition("\n")[0]


def _pack_sizes() -> str:
    fewest, most = packs.PACK_SIZES
    return (
        f"A pack holds {fewest} to {most} cells, {most} of small networks and {fewest} of large ones; "
        "of convolutional networks, whose filters are used many times, it holds fewer, down to 1."
    )


# From measurements


def _quick() -> str:
    found = json.loads(QUICK.read_text(encoding="utf-8"))
    seconds = statistics.median(found["seconds"])
    runs = len(found["seconds"])
    spread = f"{min(found['seconds']):.0f} to {max(found['seconds']):.0f} s"
    times = "one run" if runs == 1 else f"median of {runs} runs, {spread}"
    return (
        f"Measured: {found['cells']:,} cells in {seconds:.0f} s, {60 * found['cells'] / seconds:,.0f} cells "
        f"a minute, start of Python and report included ({times}; {found['workers']} workers on "
        f"{found['machine']}, {found['os']}, Python {found['python']}, torch {found['torch']}; "
        f"`tox run -e docs` measures it again)."
    )


def _quick_zh() -> str:
    found = json.loads(QUICK.read_text(encoding="utf-8"))
    seconds, runs = statistics.median(found["seconds"]), len(found["seconds"])
    spread = f"{min(found['seconds']):.0f} 至 {max(found['seconds']):.0f} s"
    times = "一次运行" if runs == 1 else f"{runs} 次运行的中位数，{spread}"
    return (
        f"实测：{found['cells']:,} 个单元用时 {seconds:.0f} s，"
        f"每分钟 {60 * found['cells'] / seconds:,.0f} 个，含启动 Python 与写报告（{times}；"
        f"{found['workers']} 个工作进程，{found['machine']}，{found['os']}，"
        f"Python {found['python']}，torch {found['torch']}；`tox run -e docs` 可重新测量）。"
    )


def _closing() -> str:
    return f"```text\n{json.loads(QUICK.read_text(encoding='utf-8'))['output']}\n```"


def _speed() -> str:
    if not SPEED.exists():
        return "Not measured yet: `python -m recipebench.benchmarks.speed.packs --json docs/speed.json`."
    from recipebench.benchmarks.speed import packs as ladder

    found = json.loads(SPEED.read_text(encoding="utf-8"))
    rounds = sorted({result["rounds"] for result in found["results"]})
    n = " or ".join(map(str, rounds))
    head = f"{found['conditions']}. Medians of {n} rounds of all arms in turn."
    return f"{head}\n\n{ladder.table(found['results'])}"


def _scale() -> str:
    if not SCALE.exists():
        return "Not measured yet: `python -m recipebench.benchmarks.speed.scale --json docs/scale.json`."
    from recipebench.benchmarks.speed import scale

    found = json.loads(SCALE.read_text(encoding="utf-8"))
    rows = found["rows"]
    head = "Each size over the one before, in computing a cell, and memory for each further cell:"
    return f"{found['conditions']}.\n\n{scale.table(rows)}\n\n{head}\n\n{scale.growth(rows)}"


def _report() -> str:
    from recipebench.benchmarks.speed import report

    found = json.loads(REPORT.read_text(encoding="utf-8"))
    rounds = len(found["rows"][0]["wall_seconds"])
    return f"{found['conditions']}. Medians of {rounds} rounds.\n\n{report.table(found['rows'])}"


def _rates() -> str:
    if not RATES.exists():
        return "Not measured yet: `python -m recipebench.benchmarks.speed.rates --json docs/rates.json`."
    from recipebench.benchmarks.speed import rates

    found = json.loads(RATES.read_text(encoding="utf-8"))
    return f"{found['conditions']}.\n\n{rates.table(found['results'])}"


def _tracking() -> str:
    if not TRACKING.exists():
        command = "python -m recipebench.benchmarks.speed.tracking --json docs/tracking.json"
        return f"Not measured yet: `{command}`."
    from recipebench.benchmarks.speed import tracking

    return f"```text\n{tracking.report(json.loads(TRACKING.read_text(encoding='utf-8')))}\n```"


def _gpu() -> str:
    if not GPU.exists():
        return "Not measured yet: `python -m recipebench.benchmarks.speed.gpu --json docs/gpu.json`."
    from recipebench.benchmarks.speed import gpu

    return gpu.table(json.loads(GPU.read_text(encoding="utf-8")))


BLOCKS: dict[str, Callable[[], str]] = {
    **{_plural(factor): partial(_levels, catalog) for factor, catalog in RECIPE.items()},
    "models": _models,
    "model details": partial(_details, MODELS),
    "data": _data,
    "data details": partial(_details, DATA),
    "data origins": _origins,
    "by task": partial(_by_task, ("task", "data", "models")),
    "by task zh": partial(_by_task, ("任务", "数据", "模型"), chinese),
    "metrics": _metrics,
    "suites": _suites,
    "questions": partial(_questions, ("suite", "question")),
    "questions zh": partial(_questions, ("套件", "问题"), chinese),
    "commands": partial(_commands, ("command", "does", "options")),
    "commands zh": partial(_commands, ("命令", "作用", "选项"), chinese),
    "counts": _counts,
    "counts zh": _counts_zh,
    "example": partial(
        _example,
        "That is {recipes} recipes on {sets} data sets with {seeds} seeds: {cells} training runs (cells).",
    ),
    "example zh": partial(
        _example, "共 {recipes} 个配方、{sets} 个数据集、{seeds} 个随机种子：{cells} 次训练（单元）。"
    ),
    "packed layers": _packed_layers,
    "pack sizes": _pack_sizes,
    "quick": _quick,
    "quick zh": _quick_zh,
    "closing": _closing,
    "speed": _speed,
    "scale": _scale,
    "report": _report,
    "rates": _rates,
    "tracking": _tracking,
    "gpu": _gpu,
}
"""What the pages hold between their markers."""


def renewed(text: str) -> str:
    """Return a page with all its blocks renewed."""
    return _BLOCK.sub(lambda block: f"{block[1]}{BLOCKS[block[2]]()}\n{block[3]}", text)


def stale() -> list[Path]:
    """Return the pages that a renewal would change."""
    return [page for page in PAGES if renewed(_read(page)) != _read(page)]


def _read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


# Measuring


def measure(runs: int) -> None:
    """Train `quick` in empty stores, write down how long it took, and picture the last report."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"The picture of the report needs one of {', '.join(BROWSERS)} on PATH; found none.")
    seconds, out = [], Path()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(runs):
            store = Path(folder) / f"{i}" / "runs"
            store.parent.mkdir()
            start = time.perf_counter()
            done = _run(store.parent)
            seconds.append(round(time.perf_counter() - start, 1))
            out = store / "reports" / "quick"
        _write_down(seconds, done)
        _picture(browser, out)


def _run(folder: Path) -> str:
    command = [sys.executable, "-m", "recipebench", "run", "quick"]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def _write_down(seconds: list[float], output: str) -> None:
    here = environment.describe()
    lines = [line for line in output.splitlines() if line.startswith(("quick:", "planned", "Report"))]
    found = {
        "cells": sum(1 for _ in cells.expand(suite.load_suite("quick"))),
        "seconds": seconds,
        "workers": here.cores,
        "machine": f"{here.cpu_model} ({here.cpu_class})",
        "os": here.os.partition(" ")[0],
        "python": here.python,
        "torch": here.packages["torch"],
        "output": "\n".join(lines),
    }
    QUICK.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _picture(browser: str, report: Path) -> None:
    IMAGES.mkdir(exist_ok=True)
    for name in FIGURES:
        (IMAGES / name).write_bytes((report / "figures" / name).read_bytes())
    picture = IMAGES / "report.png"
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *WITHOUT_NETWORK, f"--user-data-dir={profile}", "--window-size=1200,1980"]
        page = (report / "index.html").resolve().as_uri()
        subprocess.run([*command, f"--screenshot={picture}", page], check=True, capture_output=True)
    if picture.stat().st_size > LARGEST_PICTURE:
        sys.exit(f"{picture} has {picture.stat().st_size:,} bytes; expected at most {LARGEST_PICTURE:,}.")


def main() -> None:
    """Renew, check or measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a block is stale")
    parser.add_argument("--measure", action="store_true", help="train quick, time it and picture its report")
    parser.add_argument("--runs", type=int, default=3, help="how often quick is timed")
    options = parser.parse_args()
    if options.check:
        pages = stale()
        sys.exit(f"Stale: {', '.join(p.name for p in pages)}. Run `tox run -e docs`." if pages else 0)
    if options.measure:
        measure(options.runs)
    for page in PAGES:
        page.write_text(renewed(_read(page)), encoding="utf-8")


if __name__ == "__main__":
    main()
