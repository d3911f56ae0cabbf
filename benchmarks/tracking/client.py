"""The one module that speaks to wandb's client: opens, fills and closes runs, quietly and without a look-up.

Runs are written to files first, also when they go online: `uploads` follows the files while they grow.
So a server that hangs, refuses or dies is met by nobody who waits. Only the mode `shared`, which exists
on a server alone, opens its runs there.
"""

from __future__ import annotations

import netrc
import os
import socket
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from recipebench.benchmarks.tracking.target import Target

if TYPE_CHECKING:
    import wandb

KEPT_VARIABLES = (
    *("WANDB_BASE_URL", "WANDB_CONFIG_DIR", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_CREDENTIALS_FILE"),
    *("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_INSECURE_DISABLE_SSL", "WANDB_X_EXTRA_HTTP_HEADERS"),
)
"""Settings of a person's environment that apply to runs of ours; others, such as a run's id, do not."""

KEY = "WANDB_API_KEY"

QUIET: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "silent": True,
    "symlink": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_viewer": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 5.0,
}
"""Settings of a run: nothing is captured but what is given, so that opening one takes 10 ms, not 125."""

SHARED_TIMEOUTS: dict[str, Any] = {
    "init_timeout": 10.0,
    "finish_timeout": 10.0,
    "finish_timeout_raises": True,
}
"""How long a run that exists on a server alone may keep its writer waiting, in seconds."""


def prepare(folder: Path, environment: MutableMapping[str, str]) -> str | None:
    """Make this process's environment one in which wandb keeps to a folder; return the key found in it.

    Must run before wandb is imported. The key leaves the environment, so that nothing that wandb starts
    has it and nothing it writes can hold it.

    Args:
        folder: where caches and what waits for upload go.
        environment: `os.environ`, changed.
    """
    key = environment.pop(KEY, None)
    for name in [n for n in environment if n.startswith("WANDB_") and n not in KEPT_VARIABLES]:
        del environment[name]
    environment["WANDB_ERROR_REPORTING"] = "false"  # it looks up its host in every mode
    environment.setdefault("WANDB_CACHE_DIR", str(folder / "cache"))
    environment.setdefault("WANDB_DATA_DIR", str(folder / "data"))
    return key


def find_key(given: str | None, base_url: str) -> str | None:
    """Return the key of a server: the one given, or that of the netrc file."""
    if given:
        return given
    names = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    for path in (Path(name).expanduser() for name in names):
        if path.is_file():
            try:
                found = netrc.netrc(path).authenticators(urlsplit(base_url).hostname or "")
            except (netrc.NetrcParseError, OSError):
                continue
            if found and found[2]:
                return found[2]
    return None


class Client:
    """Opens runs below one folder.

    Args:
        folder: run folders lie in `<folder>/wandb`.
        target: where they go.
        group: the suite.
        key: for the mode `shared`, which opens its runs on a server.
    """

    def __init__(self, folder: Path, target: Target, group: str, key: str | None = None) -> None:
        self._folder, self._target, self._group, self._key = folder, target, group, key
        self._dotted: dict[str, set[str]] = {}
        self.mode = "shared" if target.mode == "shared" else "offline"

    def open(self, described: Mapping[str, Any]) -> wandb.Run:
        """Open a run; see `content.described` for what it is told.

        Raises:
            wandb.Error: the mode is `shared`, and the server does not answer.
        """
        import wandb

        run = wandb.init(
            project=self._target.project,
            entity=self._target.entity,
            dir=self._folder,
            id=described["id"],
            name=described["name"],
            group=self._group,
            job_type=described["job_type"],
            tags=described.get("tags", []),
            config=dict(described.get("config", {})),
            mode="shared" if self.mode == "shared" else "offline",
            reinit="create_new",
            settings=wandb.Settings(**self._settings(), sweep_id=described.get("sweep")),
        )
        run.define_metric("epoch", summary="none")
        run.define_metric("*", step_metric="epoch", summary="none")  # the summary is the record
        self._dotted[described["id"]] = set()
        return run

    def _settings(self) -> dict[str, Any]:
        if self.mode != "shared":
            return QUIET
        label = f"{socket.gethostname()}-{os.getpid()}"
        return QUIET | SHARED_TIMEOUTS | {"api_key": self._key, "x_label": label}

    def log(self, run: wandb.Run, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows of a history; an epoch is a step."""
        for row in rows:
            given = {name: value for name, value in row.items() if name != "cell_id"}
            self._define_dotted(run, given)
            if self.mode == "shared":  # several may write, so steps are the server's to give
                run.log(given)
            else:
                run.log(given, step=row["epoch"])

    def _define_dotted(self, run: wandb.Run, row: Mapping[str, Any]) -> None:
        """Say of `grad_norm.linear_1` what `*` does not say, since a dot leads into a mapping there."""
        known = self._dotted[run.id]
        for name in [name for name in row if "." in name and name not in known]:
            known.add(name)
            run.define_metric(name.replace(".", r"\."), step_metric="epoch", summary="none")

    def close(self, run: wandb.Run, summary: Mapping[str, Any], *, failed: bool = False) -> Path:
        """Write the summary, end the run and return its folder.

        Raises:
            TimeoutError: the mode is `shared`, and the server did not take it all.
        """
        run.summary.update(dict(summary))
        folder = folder_of(run)
        self._dotted.pop(run.id, None)
        run.finish(exit_code=int(failed))
        return folder

    def abandon(self, run: wandb.Run) -> Path:
        """End a run that will be written again, and return its folder."""
        self._dotted.pop(run.id, None)
        folder = folder_of(run)
        run.finish(exit_code=1)
        return folder


def folder_of(run: wandb.Run) -> Path:
    """Return the folder of a run."""
    return Path(run.settings.sync_dir)
