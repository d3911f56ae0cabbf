"""The wheel in a fresh environment, beside a distribution whose folders have the same names as ours."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("benchmarks", "datamodules", "lightning_modules", "reports")
NOT_SOURCE = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")

FOREIGN = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "foreign"
version = "1"
[tool.setuptools]
packages = ["benchmarks", "reports", "datamodules"]
"""

IMPORT_ALL = """\
import importlib, json, pkgutil, sys
import recipebench
for found in pkgutil.walk_packages(recipebench.__path__, "recipebench."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
import benchmarks, datamodules, reports
files = {name: m.__file__ for name, m in sys.modules.items() if getattr(m, "__file__", None)}
heads = ("recipebench", "benchmarks", "datamodules", "lightning_modules", "reports")
print(json.dumps({name: file for name, file in files.items() if name.partition(".")[0] in heads}))
"""


@dataclass(frozen=True)
class Fresh:
    """An environment that holds both wheels, and sees the dependencies of this one."""

    wheel: Path
    python: Path
    site: Path

    def run(self, *arguments: str, cwd: Path) -> str:
        done = subprocess.run([self.python, *arguments], cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def _build(source: Path, out: Path) -> Path:
    _pip("wheel", source, "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", out)
    (wheel,) = out.glob("*.whl")
    return wheel


def _foreign_source(folder: Path) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(FOREIGN)
    for name in ("benchmarks", "reports", "datamodules"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"OWNER = 'foreign {name}'\n")
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    folder = tmp_path_factory.mktemp("wheel")
    source = shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE)
    ours = _build(source, folder / "ours")
    foreign = _build(_foreign_source(folder / "foreign"), folder / "foreigns")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    _pip("--python", python, "install", "--no-index", "--no-deps", ours, foreign)
    places = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    site = Path(sysconfig.get_path("purelib", "venv", vars=places))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Fresh(ours, python, site)


@pytest.fixture(scope="module")
def modules(fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of all modules of ours and of the foreign packages, by name, after importing all."""
    printed = fresh.run("-W", "ignore", "-c", IMPORT_ALL, cwd=tmp_path_factory.mktemp("empty"))
    return {name: Path(file) for name, file in json.loads(printed.splitlines()[-1]).items()}


def _content(fresh: Fresh) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(fresh.wheel) as wheel:
        return wheel.infolist()


def test_the_wheel_holds_one_package_and_no_tests(fresh: Fresh) -> None:
    names = [info.filename for info in _content(fresh)]

    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"recipebench"}
    assert not [name for name in names if "test" in name.rpartition("/")[2]]


def test_the_wheel_holds_all_modules_and_what_they_read(fresh: Fresh) -> None:
    names = {info.filename for info in _content(fresh)}
    kinds = (".py", ".yaml", ".j2", ".css", ".js", ".typed", ".mo", ".otf", ".conf", ".txt")
    places = {ROOT / "recipebench": "recipebench"} | {ROOT / f: f"recipebench/{f}" for f in FOLDERS}
    expected = {
        f"{place}/{path.relative_to(folder).as_posix()}"
        for folder, place in places.items()
        for path in folder.rglob("*")
        if path.suffix in kinds
    }

    assert {"recipebench/py.typed", "recipebench/benchmarks/suites/quick.yaml"} <= expected
    assert {f"recipebench/reports/page.{kind}" for kind in ("html.j2", "css", "js")} <= expected
    assert "recipebench/reports/locale/zh_CN/LC_MESSAGES/recipebench.mo" in expected
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_no_file_is_in_the_wheel_twice(fresh: Fresh) -> None:
    with zipfile.ZipFile(fresh.wheel) as wheel:
        contents = {name: wheel.read(name) for name in wheel.namelist() if name.endswith(".py")}
    hashes = Counter(hashlib.sha256(content).hexdigest() for content in contents.values() if content)

    assert [digest for digest, count in hashes.items() if count > 1] == []


def test_both_distributions_import_their_own_code(fresh: Fresh, modules: dict[str, Path]) -> None:
    for name in ("benchmarks", "datamodules", "reports"):
        assert "foreign" in ast.literal_eval(modules[name].read_text().partition(" = ")[2])
        ours = modules[f"recipebench.{name}"]
        assert ours == fresh.site / "recipebench" / name / "__init__.py"
        assert ours.read_bytes() == (ROOT / name / "__init__.py").read_bytes()


def test_no_module_exists_twice(fresh: Fresh, modules: dict[str, Path]) -> None:
    files = Counter(path.resolve() for path in modules.values())

    assert len(files) > 60
    assert [path for path, count in files.items() if count > 1] == []
    assert all(path.is_relative_to(fresh.site) for path in modules.values())


@pytest.mark.parametrize("place", ["an empty folder", "the root of the repository"])
def test_the_command_runs(fresh: Fresh, tmp_path: Path, place: str) -> None:
    cwd = ROOT if place == "the root of the repository" else tmp_path

    for start in (["-m", "recipebench"], [str(fresh.python.with_name("recipebench"))]):
        assert "quick" in fresh.run(*start, "list", "suites", cwd=cwd)


def test_the_root_of_the_repository_hides_the_wheel_completely(fresh: Fresh) -> None:
    code = "import recipebench.benchmarks.cli as c, recipebench as r; print(c.__file__); print(r.__file__)"
    files = [Path(line) for line in fresh.run("-c", code, cwd=ROOT).splitlines()]

    assert files == [ROOT / "benchmarks" / "cli.py", ROOT / "recipebench" / "__init__.py"]


def test_the_wheel_has_the_version_of_the_module(fresh: Fresh, tmp_path: Path) -> None:
    code = "import recipebench as r, importlib.metadata as m; print(r.__version__, m.version('recipebench'))"
    module, wheel = fresh.run("-c", code, cwd=tmp_path).split()

    assert module == wheel
