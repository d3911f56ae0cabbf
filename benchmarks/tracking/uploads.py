"""Uploads run folders while they grow, without ever keeping the one who writes them waiting.

It asks wandb's service for what `wandb beta sync --live` asks for; the command would start a process for
every pack. A finished upload leaves the marker `*.wandb.synced`, by which `wandb sync` and a later run
know that there is nothing left to do.
"""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from recipebench.benchmarks.environment import mask_secrets
from recipebench.benchmarks.tracking.ledger import is_uploaded

AT_ONCE = 128
"""Runs that are followed at a time at most; others wait for their turn."""

PATIENCE = 30.0
"""Seconds without a finished upload after which the end of a run waits no longer."""

KNOCK = 3.0
"""Seconds in which the server has to answer anything at all."""

AGAIN = 15.0
"""Seconds after which a server that did not answer is asked again."""

STILL = 1.0
"""Seconds without any progress after which the server is asked, at the next look, whether it is there."""

POLL = 5.0
"""Seconds between two looks at how uploads fare while cells train."""

LAST_POLL = 0.2
"""The same at the end."""

TIMEOUTS: dict[str, Any] = {"x_graphql_timeout_seconds": 10.0, "x_file_stream_timeout_seconds": 20.0}
"""How long the server may take for one answer, in seconds."""

_ERROR = 40  # the level of a message that says that an upload has ended without success


class Uploads:
    """Run folders on their way to a server.

    Args:
        folder: the tracking folder; the service logs there.
        base_url: the server.
        key: the API key; None where an identity token takes its place.
    """

    def __init__(self, folder: Path, base_url: str, key: str | None) -> None:
        import wandb
        from wandb.sdk import wandb_setup

        single = wandb_setup.singleton()
        self._settings = wandb.Settings(base_url=base_url, root_dir=str(folder), silent=True, **TIMEOUTS)
        self._settings.identity_token_file = single.settings.identity_token_file
        self._settings.api_key = key
        self._service, self._asyncer = single.ensure_service(), single.asyncer
        self._waiting: deque[Path] = deque()
        self._active: dict[Path, str] = {}
        self._seen: dict[Path, str] = {}
        self._handles: dict[Path, Any] = {}
        self._url = base_url
        self._answers: bool | None = None
        self._over = False
        self._troubled: set[Path] = set()
        self._lock = threading.Lock()
        self._changed = self._asked = time.monotonic()
        self._speed = POLL
        self.finished = 0
        self.problem = ""
        self._asyncer.run_soon(self._watch, daemon=True)
        threading.Thread(target=self._reach, daemon=True).start()

    def add(self, folder: Path) -> None:
        """Upload a run folder, from now on until its run ends."""
        with self._lock:
            if folder not in self._active and folder not in self._waiting:
                self._waiting.append(folder)
                self._changed = time.monotonic()
        self._start()

    def wait(self, tick: Callable[[], None]) -> None:
        """Wait until everything is uploaded, the server does not answer, or nothing moves.

        Args:
            tick: called while there is something to wait for.
        """
        self._speed = LAST_POLL
        with self._lock:
            self._changed = time.monotonic()
        while self._is_moving():
            tick()
            time.sleep(0.02)
        with self._lock:
            if self._answers is False and not self.problem:
                self.problem = "the server does not answer"
            self._over = True
            self._waiting.clear()
            self._cancel()

    def _is_moving(self) -> bool:
        with self._lock:
            left = len(self._active) + len(self._waiting)
            deaf = self._answers is False
            return left > 0 and not deaf and not self._stuck() and time.monotonic() - self._changed < PATIENCE

    def _stuck(self) -> bool:
        """Whether the server is in trouble with everything that is on its way."""
        return bool(self._active) and self._troubled >= set(self._active)

    def _cancel(self) -> None:
        for handle in list(self._handles.values()):
            handle.cancel()

    def _reach(self) -> None:
        """Ask again and again until anything answers; nothing is begun before, so nothing tries in vain."""
        while not answers(self._url):
            self._answers = False
            time.sleep(AGAIN)
        self._answers = True
        self._start()

    async def _retreat(self) -> None:
        """Put everything off if the server is in trouble, or still, and does not answer any more."""
        doubtful = self._stuck() or (self._active and self._is_still())
        if not self._answers or not doubtful:  # without an answer, it is being asked already
            return
        there = await asyncio.to_thread(answers, self._url)
        self._asked = time.monotonic()
        if there:
            return
        self._answers = False
        with self._lock:
            self._cancel()
        threading.Thread(target=self._reach, daemon=True).start()

    def _is_still(self) -> bool:
        """Whether no upload has moved for a while, nor the server been asked."""
        return time.monotonic() - max(self._changed, self._asked) > STILL

    def _start(self) -> None:
        """Begin what may begin: one after the other for a run, and nothing while the server is in trouble."""
        with self._lock:
            ids = {_run_of(folder) for folder in self._active}
            ready = self._answers and not self._over and not self._stuck()
            for folder in list(self._waiting) if ready else []:
                if len(self._active) < AT_ONCE and _run_of(folder) not in ids:
                    self._waiting.remove(folder)
                    self._active[folder] = ""
                    ids.add(_run_of(folder))
                    self._asyncer.run_soon(partial(self._follow, folder), daemon=True)

    async def _follow(self, folder: Path) -> None:
        from wandb.sdk.mailbox.mailbox_handle import HandleAbandonedError

        messages, put_off = [], False
        try:
            messages = await self._upload(folder)
        except HandleAbandonedError:
            put_off = True
        finally:
            with self._lock:
                self._active.pop(folder, None)
                self._seen.pop(folder, None)
                self._handles.pop(folder, None)
                self._troubled.discard(folder)
                self._changed = time.monotonic()
                if put_off and not self._over:
                    self._waiting.append(folder)
        if is_uploaded(folder):
            self.finished += 1
        elif not put_off:
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
        self._handles[folder] = done = await self._service.sync(name, parallelism=1)
        return list((await done.wait_async(timeout=None)).messages)

    async def _watch(self) -> None:
        """Look again and again at how the uploads fare."""
        while True:
            await self._rest()
            for folder, name in [(f, n) for f, n in self._active.items() if n]:
                moved, trouble = await self._look(name)
                with self._lock:
                    if trouble and folder in self._active:
                        self._troubled.add(folder)
                        self._note(trouble)
                    else:
                        self._troubled.discard(folder)
                        if self._seen.get(folder) != moved:
                            self._seen[folder], self._changed = moved, time.monotonic()
            await self._retreat()
            self._start()

    async def _rest(self) -> None:
        """Wait until it is time to look again, which may come sooner than it did."""
        since = time.monotonic()
        while time.monotonic() - since < self._speed:
            await asyncio.sleep(LAST_POLL)

    async def _look(self, name: str) -> tuple[str, str]:
        """Return what an upload is at, and what the server last said if it has to be asked again."""
        from wandb.sdk.mailbox.mailbox_handle import HandleAbandonedError, ServerResponseError

        try:
            asked = await self._service.sync_status(name)
            status = await asked.wait_async(timeout=None)
        except (HandleAbandonedError, ServerResponseError):  # it has ended meanwhile
            return "", ""
        operations = [operation for stats in status.stats for operation in stats.operations]
        moved = "; ".join(f"{operation.desc} {operation.progress}" for operation in operations)
        return moved, next((o.error_status for o in operations if o.error_status), "")

    def _note(self, text: str) -> None:
        self.problem = self.problem or " ".join(mask_secrets([" ".join(text.split())]))[:300]


def answers(base_url: str) -> bool:
    """Whether a server answers anything at all, within `KNOCK` seconds; no key is shown to it."""
    try:
        urllib.request.urlopen(base_url, timeout=KNOCK).close()
    except urllib.error.HTTPError:  # an answer
        return True
    except (OSError, ValueError):
        return False
    return True


def _run_of(folder: Path) -> str:
    return folder.name.rpartition("-")[2]


async def _file_of(folder: Path) -> Path:
    """Return the file of a run that has just been opened: it comes with its first record."""
    while True:
        for path in folder.glob("*.wandb"):
            return path
        await asyncio.sleep(0.05)
