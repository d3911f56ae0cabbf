"""Where a run took place: versions, processor, devices and command line, found without importing torch."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib.util
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import recipebench
from recipebench.processes import usable_cores

PACKAGES = (
    *("recipebench", "torch", "pytorch-lightning", "torchmetrics", "numpy", "pandas", "pyarrow"),
    *("scikit-learn", "scipy", "statsmodels", "ray", "wandb"),
)
"""Distributions whose versions are written down where they are installed."""

VARIABLES = (
    *("MKL_CBWR", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "PYTHONHASHSEED", "RECIPEBENCH_DATA"),
)
"""The only environment variables that are ever written down."""

_FOLDERS = ("benchmarks", "datamodules", "lightning_modules", "reports")

MASK = "***"
"""What stands in the place of a value that looks like a secret."""

_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|auth|pwd", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_LONG_WORD = re.compile(r"[A-Za-z0-9_-]{32,}")
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+][A-Za-z0-9+/]{38,}={0,2}(?![A-Za-z0-9+/=])")
_PREFIXED = re.compile(r"\b(?:sk-|ghp_|gho_|github_pat_|hf_|glpat-|xox[abp]-|AKIA)[A-Za-z0-9_-]{10,}")

# Each level holds the ones after it; the names are those by which people choose a build.
_ISA_LEVELS = {
    "avx512": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "avx2": {"avx2", "fma"},
    "avx": {"avx"},
    "sse4": {"sse4_2"},
    "sve": {"sve"},
    "neon": {"asimd"},
}


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Everything about a run that is not its suite.

    Args:
        started: local time with its offset, as information only.
        python: version of the interpreter.
        packages: distribution to version.
        git_commit: of the checkout that the package runs from; None when it is installed.
        git_changed: whether tracked files differ from that commit; None when there is none.
        cpu_model: the processor's name.
        cpu_class: see `cpu_class`.
        cores: logical processors that this process may use.
        workers: worker processes; None when not known.
        threads: threads a worker; None when not known.
        gpus: name, driver and memory of each device that nvidia-smi lists.
        os: operating system and release.
        command_line: the arguments, secrets masked.
        variables: allow-listed environment variables that are set.
    """

    started: str
    python: str
    packages: Mapping[str, str]
    git_commit: str | None
    git_changed: bool | None
    cpu_model: str
    cpu_class: str
    cores: int
    workers: int | None
    threads: int | None
    gpus: tuple[str, ...]
    os: str
    command_line: tuple[str, ...]
    variables: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """Return plain JSON types."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else dict(value) if _is_map(value) else value
            for name, value in fields.items()
        }

    @property
    def id(self) -> str:
        """16 hex digits of the SHA-256 of its JSON."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping)


def describe(
    command_line: Sequence[str] | None = None, *, workers: int | None = None, threads: int | None = None
) -> Environment:
    """Describe this process and machine.

    Args:
        command_line: the arguments to write down; `sys.argv` by default. Secrets are masked.
        workers: number of worker processes.
        threads: threads a worker.
    """
    commit, changed = _git_state()
    return Environment(
        started=datetime.now(UTC).astimezone().isoformat(timespec="seconds"),
        python=platform.python_version(),
        packages=package_versions(),
        git_commit=commit,
        git_changed=changed,
        cpu_model=cpu_model(),
        cpu_class=cpu_class(),
        cores=usable_cores(),
        workers=workers,
        threads=threads,
        gpus=gpu_names(),
        os=f"{platform.system()} {platform.release()}",
        command_line=tuple(mask_secrets(sys.argv if command_line is None else command_line)),
        variables={name: mask_secrets([os.environ[name]])[0] for name in VARIABLES if name in os.environ},
    )


def package_versions() -> dict[str, str]:
    """Return the installed version of each of `PACKAGES`, from metadata alone."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def build() -> dict[str, str]:
    """Return the columns by which records of different builds are told apart: `torch` and `cpu`."""
    return {"torch": _torch_version().split("+")[0], "cpu": cpu_class()}


@functools.cache
def _torch_version() -> str:
    return metadata.version("torch")


@functools.cache
def source_sha256() -> str:
    """Return the SHA-256 of all of recipebench's Python files, by name: equal for equal code."""
    digest = hashlib.sha256()
    for part in ("", *_FOLDERS):
        found = importlib.util.find_spec(f"recipebench.{part}".rstrip("."))
        assert found is not None
        assert found.origin is not None
        folder = Path(found.origin).parent
        for path in sorted(folder.rglob("*.py") if part else folder.glob("*.py")):
            digest.update(f"{part}/{path.relative_to(folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@functools.cache
def cpu_class() -> str:
    """Return the class of processor within which bits are promised, a short stable string.

    On Linux: machine, vendor, family, model and the widest vector instructions, for example
    `x86_64-GenuineIntel-6-85-avx512`; elsewhere what the platform tells.
    """
    info = Path("/proc/cpuinfo")
    if platform.system() == "Linux" and info.exists():
        return class_from_cpuinfo(info.read_text(errors="replace"), platform.machine())
    return _slug(f"{platform.machine()}-{cpu_model()}")


def class_from_cpuinfo(text: str, machine: str) -> str:
    r"""Read the class off the text of `/proc/cpuinfo` (its first processor).

    Example:
        >>> text = "vendor_id: AuthenticAMD\ncpu family: 25\nmodel: 1\nflags: avx2 fma"
        >>> class_from_cpuinfo(text, "x86_64")
        'x86_64-AuthenticAMD-25-1-avx2'
    """
    facts = _cpuinfo(text)
    flags = set((facts.get("flags") or facts.get("Features") or "").split())
    level = next((name for name, needed in _ISA_LEVELS.items() if needed <= flags), "base")
    x86 = [facts.get(key, "") for key in ("vendor_id", "cpu family", "model")]
    arm = [facts.get(key, "") for key in ("CPU implementer", "CPU part")]
    return _slug("-".join(part for part in [machine, *(x86 if x86[0] else arm), level] if part))


def _cpuinfo(text: str) -> dict[str, str]:
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:80]


@functools.cache
def cpu_model() -> str:
    """Return the processor's name as its maker writes it, or the machine type where it has none."""
    info = Path("/proc/cpuinfo")
    if platform.system() == "Linux":
        facts = _cpuinfo(info.read_text(errors="replace")) if info.exists() else {}
        return facts.get("model name") or platform.machine()
    if platform.system() == "Darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"]) or platform.machine()
    return platform.processor() or platform.machine()


def gpu_names() -> tuple[str, ...]:
    """Return one line (name, driver, memory) for each device that nvidia-smi lists, if it is there."""
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    return tuple(line.strip() for line in (_output(query) or "").splitlines() if line.strip())


def gpu_free_bytes() -> list[int]:
    """Return the free memory of each device that nvidia-smi lists, if it is there."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    lines = (_output(query) or "").splitlines()
    return [int(line) * 2**20 for line in lines if line.strip().isdigit()]


def torch_has_cuda() -> bool:
    """Return whether torch was built with CUDA, without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    return runpy.run_path(str(Path(spec.origin).with_name("version.py"))).get("cuda") is not None


def _git_state() -> tuple[str | None, bool | None]:
    """Return the commit of the checkout and whether tracked files changed; never another project's."""
    root = Path(recipebench.__file__).resolve().parent.parent
    if not ((root / "pyproject.toml").is_file() and (root / ".git").exists()):
        return None, None
    git = ["git", "-c", "core.fsmonitor=false", "-C", str(root)]
    commit = _output([*git, "rev-parse", "--verify", "HEAD"])
    if not commit:
        return None, None
    status = _output([*git, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no"])
    return commit, None if status is None else bool(status)


def _output(command: list[str]) -> str | None:
    """Return what a command prints, None when it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def mask_secrets(arguments: Sequence[str]) -> list[str]:
    """Replace what looks like a secret by `***`.

    Masked are values of options and `NAME=value` pairs with a telling name, values of environment
    variables with a telling name, logins in addresses, and long words of mixed letters and digits.

    Example:
        >>> mask_secrets(["run", "quick", "--api-key", "hunter2", "--seeds=5", "--token=abc"])
        ['run', 'quick', '--api-key', '***', '--seeds=5', '--token=***']
    """
    masked, hide_next = [], False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if hide_next and not argument.startswith("--"):
            masked.append(MASK)
        elif equals and value and _SECRET_NAME.search(name):
            masked.append(f"{_mask_words(name)}={MASK}")
        else:
            masked.append(_mask_words(argument))
        hide_next = argument.startswith("-") and not equals and bool(_SECRET_NAME.search(argument))
    return masked


def _mask_words(text: str) -> str:
    for secret in _secrets_of_environment():
        text = text.replace(secret, MASK)
    text = _URL_LOGIN.sub(MASK, text)
    text = _PREFIXED.sub(MASK, text)
    text = _BASE64.sub(_mask_if_mixed, text)
    return _LONG_WORD.sub(_mask_if_mixed, text)


def _mask_if_mixed(match: re.Match[str]) -> str:
    word = match.group()
    kinds = [any(c.isdigit() for c in word), any(c.isalpha() for c in word)]
    if "/" in word:  # a path has no capitals and digits in such a mix
        kinds.append(any(c.isupper() for c in word) and any(c.islower() for c in word))
    return MASK if all(kinds) else word


def _secrets_of_environment() -> list[str]:
    found = [value for name, value in os.environ.items() if _SECRET_NAME.search(name) and len(value) >= 8]
    return sorted(found, key=len, reverse=True)
