"""Uploads run folders while they grow, without ever keeping the one who writes them waiting.

It asks wandb's service for what `wandb beta sync --live` asks for; the command would start a process for
every pack. A finished upload leaves the marker `*.wandb.synced`, by which `wandb sync` and a later run
know that there is nothing left to do.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recipebench.benchmarks.environment import mask_secrets
from recipebench.benchmarks.tracking.ledger import is_uploaded

AT_ONCE = 128
"""Runs that are followed at a time at most; others wait for their turn."""

PATIENCE = 30.0
"""Seconds without a finished upload after which the end of a run waits no longer."""

POLL = 2.0
"""Seconds between two looks at how uploads fare."""

TIMEOUTS: dict[str, Any] = {"x_graphql_timeout_seconds": 10.0, "x_file_stream_timeout_seconds": 20.0}
"""How long the server may take for one answer, in seconds."""

_ERROR = 40  # the level of a message that says that an upload has ended without success


class Uploads:
    """Run folders on their way to a server.

    Args:
        base_url: the server.
        key: the API key; None where an identity token takes its place.
    """

    def __init__(self, base_url: str, key: str | None) -> None:
        import wandb
        from wandb.sdk import wandb_setup

        single = wandb_setup.singleton()
        self._settings = wandb.Settings(base_url=base_url, silent=True, **TIMEOUTS)
        self._settings.identity_token_file = single.settings.identity_token_file
        self._settings.api_key = key
        self._service, self._asyncer = single.ensure_service(), single.asyncer
        self._waiting: deque[Path] = deque()
        self._active: dict[Path, str] = {}
        self._troubled: set[Path] = set()
        self._lock = threading.Lock()
        self._changed = time.monotonic()
        self._speed = POLL
        self.finished = 0
        self.problem = ""
        self._asyncer.run_soon(self._watch, daemon=True)

    def add(self, folder: Path) -> None:
        """Upload a run folder, from now on until its run ends."""
        with self._lock:
            if folder not in self._active and folder not in self._waiting:
                self._waiting.append(folder)
                self._changed = time.monotonic()
        self._start()

    def wait(self, tick: Callable[[], None]) -> None:
        """Wait until everything is uploaded, the server is in trouble with all of it, or nothing moves.

        Args:
            tick: called while there is something to wait for.
        """
        self._speed = POLL / 10
        with self._lock:
            self._changed = time.monotonic()
        while self._is_moving():
            tick()
            time.sleep(0.02)

    def _is_moving(self) -> bool:
        with self._lock:
            left = len(self._active) + len(self._waiting)
            stuck = bool(self._active) and self._troubled >= set(self._active)
            return left > 0 and not stuck and time.monotonic() - self._changed < PATIENCE

    def _start(self) -> None:
        with self._lock:
            ids = {_run_of(folder) for folder in self._active}
            for folder in list(self._waiting):
                if (
                    len(self._active) < AT_ONCE and _run_of(folder) not in ids
                ):  # one after the other for a run
                    self._waiting.remove(folder)
                    self._active[folder] = ""
                    ids.add(_run_of(folder))
                    self._asyncer.run_soon(lambda folder=folder: self._follow(folder), daemon=True)

    async def _follow(self, folder: Path) -> None:
        try:
            messages = await self._upload(folder)
        finally:
            with self._lock:
                self._active.pop(folder, None)
                self._troubled.discard(folder)
                self._changed = time.monotonic()
        if is_uploaded(folder):
            self.finished += 1
        else:
            self._note(next((m.content for m in messages if m.severity >= _ERROR), "an upload did not end"))
        self._start()

    async def _upload(self, folder: Path) -> list[Any]:
        path = await _file_of(folder)
        asked = await self._service.init_sync(
            {path},
            self._settings,
            cwd=None,
            live=True,
            entity="",
            project="",
            run_id="",
            job_type="",
            tag_replacements={},
        )
        name = (await asked.wait_async(timeout=None)).id
        self._active[folder] = name
        done = await self._service.sync(name, parallelism=1)
        return list((await done.wait_async(timeout=None)).messages)

    async def _watch(self) -> None:
        """Note again and again which uploads the server gives trouble to."""
        while True:
            await asyncio.sleep(self._speed)
            for folder, name in [(f, n) for f, n in self._active.items() if n]:
                trouble = await self._trouble(name)
                with self._lock:
                    if trouble and folder in self._active:
                        self._troubled.add(folder)
                        self._note(trouble)
                    else:
                        self._troubled.discard(folder)

    async def _trouble(self, name: str) -> str:
        """Return what the server last answered to an upload, if it has to be asked again; else nothing."""
        from wandb.sdk.mailbox.mailbox_handle import HandleAbandonedError, ServerResponseError

        try:
            asked = await self._service.sync_status(name)
            status = await asked.wait_async(timeout=None)
        except (HandleAbandonedError, ServerResponseError):  # it has ended meanwhile
            return ""
        return next(
            (o.error_status for stats in status.stats for o in stats.operations if o.error_status), ""
        )

    def _note(self, text: str) -> None:
        self.problem = self.problem or " ".join(mask_secrets([" ".join(text.split())]))[:300]


def _run_of(folder: Path) -> str:
    return folder.name.rpartition("-")[2]


async def _file_of(folder: Path) -> Path:
    """Return the file of a run that has just been opened: it comes with its first record."""
    while True:
        for path in folder.glob("*.wandb"):
            return path
        await asyncio.sleep(0.05)
