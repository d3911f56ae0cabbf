"""The pages: commands exist, suites validate, code runs, and what is generated is up to date."""

from __future__ import annotations

import configparser
import math
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from docs_scripts import load

from recipebench.benchmarks import store_tables
from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.cli import app
from recipebench.benchmarks.combinations import SETTINGS, Settings
from recipebench.benchmarks.suite import DataProtocol, Suite, load_suite, shipped
from recipebench.errors import RequestError

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh-CN.md")
PAGES = [*(ROOT / name for name in READMES), ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

SMALL = {"name": "small", "data": ["digits"], "matrix": {"activation": ["relu"]}}
"""What a fragment of a suite in a page is put into."""

SPEED = ("gpu", "packs", "batch_sizes", "rates", "report", "scale", "tracking")
"""The measurements that pages name."""

TINY_QUICK: dict[str, Any] = {
    "name": "quick",
    "data": ["digits"],
    "model": {"mlp": {"hidden": [4]}},
    "matrix": {"activation": ["relu", "sigmoid"], "regularizer": ["dropout"]},
    "seeds": 1,
    "probes": ["gradients", "weights", "activations"],
    "protocol": {"epochs": 1, "batch_size": 500},
}
"""What stands in for the suite quick, in a store for the blocks that read one."""


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import recipebench as rb

    store = tmp_path_factory.mktemp("tiny") / "runs"
    rb.run(TINY_QUICK, store=store, workers=1, quiet=True)
    return store


build = load("build")


def _blocks(*languages: str) -> list[Any]:
    """Return all fenced blocks of the pages in these languages, each once, named by page and line."""
    found, seen = [], set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if match[1] in languages and match[2] not in seen:
                seen.add(match[2])
                line = text[: match.start()].count("\n") + 1
                found.append(pytest.param(match[2], id=f"{page.name}:{line}"))
    return found


def _commands() -> Iterator[Any]:
    """Yield every command of the shell blocks as words, the parts of `a && b` one by one."""
    for block in _blocks("bash", "bat"):
        for line in block.values[0].splitlines():
            for part in line.partition(" #")[0].split("&&"):
                if words := shlex.split(part.replace("\\", "/")):
                    yield pytest.param(words, id=f"{block.id} {' '.join(words)}")


def _tox() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    return parser


def _page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_every_kind_of_block_is_tested() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

    assert set(re.findall(r"^```(\w+)$", text, re.MULTILINE)) == {"bash", "bat", "yaml", "python", "text"}
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0


@pytest.mark.parametrize("words", list(_commands()))
def test_a_command_exists_with_its_options(words: list[str]) -> None:
    if words[:2] in (["pipx", "run"], ["python", "-m"]):
        words = words[2:]
    elif words[0] == "uvx":
        words = words[1:]
    check = {
        "recipebench": _check_recipebench,
        "tox": _check_tox,
        "pip": _check_pip,
        "python": lambda rest: _check_script(rest[0], rest[1:]),
        "python3": lambda rest: _check_venv(rest),
        "py": lambda rest: _check_venv(rest),
        "recipebench.benchmarks.speed": lambda rest: _check_speed("command", rest),
        **{f"recipebench.benchmarks.speed.{name}": partial(_check_speed, name) for name in SPEED},
    }
    check[words[0].rpartition("/")[2]](words[1:])


def _check_recipebench(rest: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    command = group.commands[rest[0]]
    context = command.make_context(rest[0], rest[1:])
    name = context.params.get("suite")
    if name is not None and name.endswith(".yaml"):
        assert name in ("my.yaml", "example.yaml") or (ROOT / name).is_file()
    elif name not in (None, "SUITE"):
        assert load_suite(name).name == name


def _check_tox(rest: list[str]) -> None:
    assert rest[:2] == ["run", "-e"]
    assert all(_tox().has_section(f"testenv:{name}") for name in rest[2].split(","))
    positional = rest[rest.index("--") + 1 :] if "--" in rest else []
    assert all(word in shipped() or (ROOT / word).exists() for word in positional)


def _check_pip(rest: list[str]) -> None:
    if rest != ["install", "tox"]:
        *install, target, constraint, file = rest
        extra = re.fullmatch(r"\.(?:\[(\w+)\])?", target)
        assert [*install, constraint, file] == ["install", "-e", "-c", "constraints.txt"]
        assert (ROOT / file).exists()
        assert extra is not None
        assert extra[1] in (None, *tomllib.loads(_page("pyproject.toml"))["project"]["optional-dependencies"])


def _check_venv(rest: list[str]) -> None:
    assert rest == ["-m", "venv", ".venv"]


def _check_script(script: str, options: list[str]) -> None:
    known = subprocess.run(
        [sys.executable, ROOT / script, "--help"], capture_output=True, text=True, check=True
    )
    assert all(option in known.stdout for option in options)


def _check_speed(name: str, rest: list[str]) -> None:
    source = (ROOT / "benchmarks" / "speed" / f"{name}.py").read_text(encoding="utf-8")
    verbs = rest[:1] if name == "command" and not rest[0].startswith("--") else []
    assert all(f'"{word}"' in source for word in [*verbs, *rest] if word.startswith("--") or word in verbs)


@pytest.mark.parametrize("text", _blocks("yaml"))
def test_a_suite_or_a_part_of_one_is_valid(text: str, tmp_path: Path) -> None:
    given = yaml.safe_load(text)
    path = tmp_path / "suite.yaml"
    path.write_text(text if "name" in given else yaml.safe_dump(SMALL | given), encoding="utf-8")

    assert sum(1 for _ in expand(load_suite(path))) > 0


@pytest.mark.parametrize("code", _blocks("python"))
def test_code_runs_as_written(code: str, tmp_path: Path, tiny_store: Path) -> None:
    if '"runs"' in code and "rb.run(" not in code:
        shutil.copytree(tiny_store, tmp_path / "runs")
        code = code.replace('rb.load("runs", "quick")', f'rb.load("runs", {TINY_QUICK!r})')
    script = tmp_path / "block.py"
    script.write_text(code, encoding="utf-8")

    done = subprocess.run([sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    promised = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert all(line in done.stdout.splitlines() for line in promised)


@pytest.mark.parametrize("readme", READMES)
def test_the_first_two_commands_are_the_ones_that_everybody_is_told(readme: str) -> None:
    start = ".venv/bin/pip install tox && .venv/bin/tox run -e"
    lines = [line.partition("  ")[0] for line in _page(readme).splitlines()]
    commands = [line for line in lines if line.startswith("python3 -m venv .venv")]

    assert commands == [f"python3 -m venv .venv && {start} {name}" for name in ("matrix", "tests")]


def test_the_readmes_have_the_same_blocks_pictures_and_links_and_lead_to_each_other() -> None:
    english, chinese = (_page(name) for name in READMES)
    begun = [re.findall(r"<!-- begin ([a-z ]+?)(?: zh)? -->", text) for text in (english, chinese)]
    code = [
        re.findall(r"^```(?:python|bat|yaml)\n.*?^```", _uncommented(text), re.DOTALL | re.MULTILINE)
        for text in (english, chinese)
    ]
    pictures = [re.findall(r"docs/images/[\w.-]+", text) for text in (english, chinese)]
    links = [
        set(re.findall(r"\]\((docs/[^)]+|[A-Z]+(?:\.\w+)?|https:[^)]+)\)", text))
        for text in (english, chinese)
    ]

    assert begun[0] == begun[1]
    assert code[0] == code[1]
    assert pictures[0] == pictures[1]
    assert links[0] == links[1] - {"README.md"}
    assert "(README.zh-CN.md)" in english.partition("##")[0]
    assert "(README.md)" in chinese.partition("##")[0]
    assert len(chinese) <= len(english)


def _uncommented(text: str) -> str:
    """Return a page without the comments in its code, which stand in its language."""
    return re.sub(r"(?m)[ \t]+# .*$", "", text)


def test_the_chinese_of_a_text_of_the_code_is_written_or_asked_for() -> None:
    assert build.chinese("classification") == "分类"
    with pytest.raises(SystemExit, match="expected the Chinese of 'a new summary'; write it there"):
        build.chinese("a new summary")


def test_contributing_begins_with_three_commands() -> None:
    first = next(block for block in _blocks("bash") if block.id.startswith("CONTRIBUTING"))

    assert len(first.values[0].splitlines()) == 3
    assert _page("CONTRIBUTING.md").splitlines()[2] == "```bash"


def test_what_is_generated_is_up_to_date() -> None:
    assert build.stale() == []


def test_a_change_of_a_source_makes_its_block_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build.BLOCKS, "suites", lambda: "another suite ships")

    assert [page.name for page in build.stale()] == ["suites.md"]


def test_every_shipped_suite_asks_a_question(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = _page("README.md")

    assert all(f"| `recipebench run {name}` | {build.question(name)} |" in page for name in shipped())
    assert build.question("losses") == "What should be minimized, and does it matter?"
    silent = tmp_path / "silent.yaml"
    silent.write_text("# silent: nothing is asked.\n", encoding="utf-8")
    monkeypatch.setattr(build.suite, "shipped", lambda: {"silent": silent})
    with pytest.raises(SystemExit, match="expected the first line"):
        build.question("silent")


def test_the_tables_name_every_level() -> None:
    places = dict.fromkeys(("losses", "schedules", "augmentations"), "docs/suites.md")
    places |= {"models": "docs/models.md", "model details": "docs/models.md", "data": "docs/data.md"}
    catalogs = {build._plural(factor): catalog for factor, catalog in build.RECIPE.items()}
    catalogs |= {"models": build.MODELS, "model details": build.MODELS, "data": build.DATA}

    for block, page in places.items():
        found = re.search(rf"<!-- begin {block} -->\n(.*?)<!-- end", _page(page), re.DOTALL)
        assert found is not None
        assert re.findall(r"^\| `(\w+)` \|", found[1], re.MULTILINE) == list(catalogs[block])


@pytest.mark.parametrize(
    ("model", "fitted", "responds"),
    [
        ("mlp", "by an optimizer", "all factors"),
        ("logistic_regression", "by an optimizer", "all but activation"),
        ("point", "by an optimizer", "optimizer, schedule"),
        ("linear_regression_scratch", "by an optimizer", "initializer, optimizer (sgd)"),
        ("gaussian_classifier", "in one pass", "none"),
        ("perceptron", "by a rule of its own", "none"),
    ],
)
def test_the_table_of_models_says_what_a_model_responds_to(model: str, fitted: str, responds: str) -> None:
    (row,) = re.findall(rf"^\| `{model}` \| (.*) \|$", build.BLOCKS["models"](), re.MULTILINE)

    assert row.split(" | ")[2:4] == [fitted, responds]


def test_every_block_has_a_place_and_every_place_a_block() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    begun, ended = (re.findall(rf"<!-- {word} ([^>]*) -->", text) for word in ("begin", "end"))

    assert begun == ended
    assert set(begun) == set(build.BLOCKS)


def test_all_keys_of_a_suite_are_described() -> None:
    described = re.findall(
        r"^\| `(\w+)` \|", _page("docs/suites.md").partition("**Levels.**")[0], re.MULTILINE
    )

    assert {*Suite.model_fields} <= set(described)
    assert {*described} <= {*Suite.model_fields, *shipped()}
    assert all(f"`{name}`" in _page("docs/suites.md") for name in [*DataProtocol.model_fields, "per_data"])


def test_the_protocol_is_described_with_its_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", _section("Protocol"), re.MULTILINE)
    defaults = {name: yaml.safe_load(default.strip("`")) for name, default in rows}
    defaults["train_samples"] = None if defaults["train_samples"] == "all" else defaults["train_samples"]

    assert defaults == {name: getattr(Settings, name) for name in DataProtocol.model_fields}
    assert {*SETTINGS} == {*DataProtocol.model_fields} - {"validation"}


def _section(title: str) -> str:
    """Return a section of the page of suites, up to the next heading."""
    return _page("docs/suites.md").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _fragments(kind: str) -> list[str]:
    """Return the fragments of suites in the first column of the table with this head."""
    table = _section("What is left out, and what is refused").partition(f"| {kind} | because |")[2]
    return re.findall(r"^\| `(\{.*\})` \|", table.partition("\n\n")[0], re.MULTILINE)


@pytest.mark.parametrize("fragment", _fragments("left out"))
def test_what_is_said_to_be_left_out_is_left_out(fragment: str) -> None:
    given = yaml.safe_load(fragment)
    lists = [*given["matrix"].values(), *(v for v in given.values() if isinstance(v, list))]
    planned = sum(1 for _ in expand(load_suite(SMALL | given | {"seeds": 1})))

    assert 0 < planned < math.prod(map(len, lists))


@pytest.mark.parametrize("fragment", _fragments("refused"))
def test_what_is_said_to_be_refused_is_refused(fragment: str) -> None:
    with pytest.raises(RequestError):
        load_suite(SMALL | yaml.safe_load(fragment))


def test_the_probes_are_described_with_the_columns_that_they_write(tiny_store: Path) -> None:
    import recipebench as rb

    described = re.findall(r"^\| `(\w+)\.<layer>` \| `(\w+)` \|", _section("Probes"), re.MULTILINE)
    columns = rb.load(tiny_store, TINY_QUICK).history.columns

    assert {probe for _, probe in described} == {*TINY_QUICK["probes"]}
    assert {name.partition(".")[0] for name in columns if "." in name} == {name for name, _ in described}


def test_the_columns_that_are_described_are_written(tiny_store: Path) -> None:
    import recipebench as rb

    columns = {*rb.load(tiny_store, TINY_QUICK).records.columns}
    rows = re.findall(r"^\| (`.*?) \|", _page("docs/store.md"), re.MULTILINE)
    described = {name for cell in rows for name in re.findall(r"`([\w.]+)`", cell)}

    assert {"cell_id", "status", "pack_seconds", "test_accuracy_at_best"} <= described <= columns
    assert {name for name in columns if store_tables.is_time_column(name)} == {"pack_seconds"}


def test_links_and_pictures_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        links = [*re.findall(r"\]\(([^)]+)\)", text), *re.findall(r'src="([^"]+)"', text)]
        for link in links:
            if not link.startswith("https://"):
                file, _, anchor = link.partition("#")
                target = page.parent / file if file else page
                assert target.exists(), f"{page.name}: {link}"
                assert not anchor or anchor in _anchors(target), f"{page.name}: {link}"


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_picture_of_the_report_is_a_small_png() -> None:
    content = (ROOT / "docs" / "images" / "report.png").read_bytes()

    assert content.startswith(b"\x89PNG")
    assert len(content) <= build.LARGEST_PICTURE


def test_the_citation_file_has_what_its_format_asks_for() -> None:
    citation = yaml.safe_load(_page("CITATION.cff"))

    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert all(set(author) & {"name", "family-names"} for author in citation["authors"])
    assert citation["version"] == re.search(r'^version = "(.*)"$', _page("pyproject.toml"), re.MULTILINE)[1]  # type: ignore[index]


def test_the_changelog_has_a_place_for_the_next_change() -> None:
    headings = re.findall(r"^## \[(.+?)\]", _page("CHANGELOG.md"), re.MULTILINE)
    kinds = set(re.findall(r"^### (.+)$", _page("CHANGELOG.md"), re.MULTILINE))

    assert headings[0] == "Unreleased"
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
