"""What is written down about a machine is stable, complete and free of secrets."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import random
import shutil
import string
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import recipebench
from recipebench.benchmarks import environment
from recipebench.benchmarks.environment import (
    class_from_cpuinfo,
    cpu_class,
    describe,
    mask_secrets,
    package_versions,
)

AVX512 = "avx2 fma avx512f avx512bw avx512cd avx512dq avx512vl"


def _x86(flags: str, vendor: str = "GenuineIntel", family: int = 6, model: int = 85) -> str:
    return (
        f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: {model}\n"
        f"model name\t: A Fine CPU @ 2.0GHz\nflags\t\t: fpu sse4_2 avx {flags}\n\n"
        "processor\t: 1\nmodel\t\t: 99\n"
    )


@pytest.mark.parametrize(
    ("text", "machine", "expected"),
    [
        (_x86(AVX512), "x86_64", "x86_64-GenuineIntel-6-85-avx512"),
        (_x86("avx2 fma avx512f"), "x86_64", "x86_64-GenuineIntel-6-85-avx2"),
        (_x86("", "AuthenticAMD", 25, 1), "x86_64", "x86_64-AuthenticAMD-25-1-avx"),
        ("vendor_id: Odd Maker/2\nflags: fpu", "i686", "i686-Odd-Maker-2-base"),
        ("CPU implementer : 0x41\nCPU part: 0xd0c\nFeatures: fp asimd", "aarch64", "aarch64-0x41-0xd0c-neon"),
        ("CPU implementer : 0x41\nFeatures: asimd sve", "aarch64", "aarch64-0x41-sve"),
        ("", "riscv64", "riscv64-base"),
    ],
)
def test_class_of_a_processor(text: str, machine: str, expected: str) -> None:
    assert class_from_cpuinfo(text, machine) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/cpuinfo")
def test_class_of_this_processor_is_stable() -> None:
    text = Path("/proc/cpuinfo").read_text()

    assert cpu_class() == class_from_cpuinfo(text, platform.machine())
    assert cpu_class().startswith(platform.machine())


@pytest.mark.parametrize(("system", "expected"), [("Darwin", "arm64-Some-M9"), ("Windows", "arm64-Some-M9")])
def test_class_elsewhere(monkeypatch: pytest.MonkeyPatch, system: str, expected: str) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "processor", lambda: "Some M9")
    monkeypatch.setattr(environment, "_output", lambda command: "Some M9")
    monkeypatch.setattr(environment, "cpu_model", environment.cpu_model.__wrapped__)

    assert cpu_class.__wrapped__() == expected


def test_description_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HOME_ADDRESS", "5 Some Street")

    found = describe(["recipebench", "run", "quick"], workers=2, threads=1)

    assert found.python == platform.python_version()
    assert found.packages["recipebench"] == metadata.version("recipebench")
    assert found.packages["torch"] == metadata.version("torch")
    assert found.command_line == ("recipebench", "run", "quick")
    assert found.cpu_class == cpu_class()
    assert (found.workers, found.threads) == (2, 1)
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert found.variables["OMP_NUM_THREADS"] == "1"
    assert "HOME_ADDRESS" not in found.variables
    assert "Some Street" not in json.dumps(found.to_json())


def test_json_is_plain_and_complete_and_the_id_is_its_hash() -> None:
    one = describe(["a"])
    other = dataclasses.replace(one, started="2000-01-01T00:00:00+00:00")

    assert set(json.loads(json.dumps(one.to_json()))) == {field.name for field in dataclasses.fields(one)}
    assert json.loads(json.dumps(one.to_json())) == one.to_json()
    assert one.id == dataclasses.replace(one).id
    assert one.id != other.id
    assert len(one.id) == 16
    assert int(one.id, 16) >= 0


def test_only_installed_packages_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-distribution"))

    assert package_versions() == {"numpy": metadata.version("numpy")}


def _checkout(root: Path) -> Path:
    package = root / "recipebench" / "__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("")
    (root / "pyproject.toml").write_text("")
    return package


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def _git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@needs_git
def test_commit_of_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = _checkout(tmp_path)
    monkeypatch.setattr(recipebench, "__file__", str(package))
    assert (describe([]).git_commit, describe([]).git_changed) == (None, None)
    _git(tmp_path, "init", "-q")
    assert describe([]).git_commit is None
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")

    clean = describe([])
    package.write_text("changed")
    changed = describe([])

    assert clean.git_commit == changed.git_commit == _git(tmp_path, "rev-parse", "HEAD")
    assert (clean.git_changed, changed.git_changed) == (False, True)


@needs_git
def test_commit_of_another_project_around_the_package_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _git(tmp_path, "init", "-q")
    package = _checkout(tmp_path / "site-packages")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "theirs")
    monkeypatch.setattr(recipebench, "__file__", str(package))

    assert describe([]).git_commit is None


def test_gpus_are_those_that_nvidia_smi_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.gpu_names() == ()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU A, 550.1, 80 GiB'\necho 'GPU B, 550.1, 40 GiB'\n")
    tool.chmod(0o755)
    assert environment.gpu_names() == ("GPU A, 550.1, 80 GiB", "GPU B, 550.1, 40 GiB")
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert environment.gpu_names() == ()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["run", "quick", "--store", "runs", "--seeds", "5"],
            ["run", "quick", "--store", "runs", "--seeds", "5"],
        ),
        (["--api-key", "abc", "x"], ["--api-key", "***", "x"]),
        (["--api-key", "--dry-run"], ["--api-key", "--dry-run"]),
        (["--password=abc"], ["--password=***"]),
        (["WANDB_API_KEY=abc", "A=b"], ["WANDB_API_KEY=***", "A=b"]),
        (["https://me:pass@example.org/x"], ["https://***@example.org/x"]),
        (["ghp_abcdefghij0123456789"], ["***"]),
        (["show", "0123456789abcdef"], ["show", "0123456789abcdef"]),
        (["/home/someone/experiments/suite.yaml"], ["/home/someone/experiments/suite.yaml"]),
        (["wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"], ["***"]),
    ],
)
def test_secrets_on_the_command_line_are_masked(arguments: list[str], expected: list[str]) -> None:
    assert mask_secrets(arguments) == expected


@pytest.mark.parametrize("length", [40, 86])
@pytest.mark.parametrize("shape", ["{}", "--note={}", "--note=a,{},b", "https://example.org/?k={}", "x {} y"])
def test_long_random_words_are_masked_wherever_they_stand(length: int, shape: str) -> None:
    rng = random.Random(length)
    for _ in range(50):
        canary = "".join(rng.choices(string.ascii_lowercase + string.digits, k=length))
        assert canary not in " ".join(mask_secrets([shape.format(canary)]))


def test_values_of_secret_variables_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "plain-words-only")
    monkeypatch.setenv("RECIPEBENCH_DATA", "/data/plain-words-only/x")

    found = describe(["--note", "it is plain-words-only"])

    assert found.command_line == ("--note", "it is ***")
    assert found.variables["RECIPEBENCH_DATA"] == "/data/***/x"
    assert "plain-words-only" not in json.dumps(found.to_json())
