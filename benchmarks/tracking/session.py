"""What the tracking process keeps: the open runs, the ledger of the finished ones, and their uploads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipebench.benchmarks.environment import mask_secrets
from recipebench.benchmarks.tracking import closing
from recipebench.benchmarks.tracking.client import Client, folder_of
from recipebench.benchmarks.tracking.ledger import Entry, Ledger
from recipebench.benchmarks.tracking.rows import Row, plain, version
from recipebench.benchmarks.tracking.target import Target

if TYPE_CHECKING:
    import wandb

    from recipebench.benchmarks.tracking.uploads import Uploads

Say = Callable[[str], None]


class Session:
    """The runs of one suite.

    Args:
        folder: the tracking folder.
        target: where runs go.
        suite: the suite's name, the group of the runs.
        say: told what a person should know.
        key: the API key, for runs that are opened on a server.
        uploads: what uploads run folders; None where they stay.
    """

    def __init__(
        self,
        folder: Path,
        target: Target,
        suite: str,
        say: Say,
        *,
        key: str | None = None,
        uploads: Uploads | None = None,
    ) -> None:
        self._folder, self._target, self._suite, self._say = folder, target, suite, say
        self._client = Client(folder, target, suite, key)
        self._uploads = uploads
        self._ledger = Ledger(folder)
        self._ledger.clean()
        self._open: dict[str, wandb.Run] = {}
        self._logged: dict[str, int] = {}
        self._lost: set[str] = set()
        self.written = 0
        if uploads:
            for left in self._ledger.waiting():
                uploads.add(left)

    def open(self, cells: list[Row]) -> None:
        """Open the runs of a pack that has been started."""
        for described in cells:
            self._drop(described["id"])
            self._begin(described)

    def _begin(self, described: Mapping[str, Any]) -> wandb.Run | None:
        """Open a run and have it uploaded as it grows; None where its server has failed it before."""
        if described["id"] in self._lost:
            return None
        try:
            run = self._client.open(described)
        except Exception as error:
            if self._client.mode != "shared":
                raise
            self._retreat(described["id"], error)
            return None
        self._open[described["id"]], self._logged[described["id"]] = run, 0
        if self._client.mode != "shared" and self._uploads:
            self._uploads.add(folder_of(run))
        return run

    def _retreat(self, run_id: str, error: Exception) -> None:
        """Go on without the server that runs were to be shared on; its client lets go of this one no more."""
        text = " ".join(mask_secrets([" ".join(str(error).split())]))
        self._say(f"the server is not to be had ({text[:200]}); what follows is kept offline")
        self._client.mode = "offline"
        self._lost.add(run_id)

    def rows(self, rows: Mapping[str, list[Row]]) -> None:
        """Log what the epochs of a pack have brought."""
        for cell_id, new in rows.items():
            if cell_id in self._open:
                self._log(cell_id, new)

    def _log(self, cell_id: str, rows: list[Row]) -> None:
        self._client.log(self._open[cell_id], [plain(row) for row in rows])
        self._logged[cell_id] += len(rows)

    def done(self, record: Row, rows: list[Row], described: Row) -> None:
        """Finish a cell's run: the rows that it lacks, the summary, the ledger."""
        cell_id = described["id"]
        if cell_id not in self._open and self._begin(described) is None:
            return
        self._log(cell_id, rows[self._logged[cell_id] :])
        summary = {"suite": self._suite} | plain(record)
        self._finish(cell_id, summary, version(record), failed=record["status"] == "failed")

    def _finish(self, run_id: str, summary: Row, held: str, *, failed: bool = False) -> None:
        run = self._open.pop(run_id)
        del self._logged[run_id]
        try:
            folder = self._client.close(run, summary, failed=failed)
        except TimeoutError as error:  # it stays out of the ledger, and is written again
            self._retreat(run_id, error)
            return
        shared = folder.name.startswith("run-")
        entry = Entry(run_id, self._target.name, held, str(folder.relative_to(self._folder)), uploaded=shared)
        self._ledger.add(entry)
        self.written += 1

    def drop(self, cells: list[str]) -> None:
        """Give up the runs of a pack that is trained again, or for good."""
        for cell_id in cells:
            self._drop(cell_id)

    def drop_all(self) -> None:
        """Give up every run that is still open: the matrix has been interrupted."""
        self.drop(list(self._open))

    def _drop(self, cell_id: str) -> None:
        if run := self._open.pop(cell_id, None):
            del self._logged[cell_id]
            folder = self._client.abandon(run)
            if self._uploads is None:
                shutil.rmtree(folder, ignore_errors=True)

    def lacking(self, versions: Mapping[str, str]) -> list[str]:
        """Return the runs of which this very record has not been written."""
        return [run for run, held in versions.items() if not self._ledger.has(self._target.name, run, held)]

    def close_suite(self, suite: Mapping[str, Any]) -> None:
        """Write the closing run.

        Args:
            suite: `run`, `version`, `description`, `config`, `text`, `out` and `counts`; see `tracker`.
        """
        described = closing.described(self._suite, suite["description"], suite["config"])
        if run := self._begin(described):
            closing.fill(run, self._suite, Path(suite["out"]), suite["text"])
            self._finish(described["id"], dict(suite["counts"]), suite["version"])
            self.written -= 1

    def end(self, tick: Callable[[], None]) -> dict[str, Any]:
        """Give up what is still open, wait for uploads that move, and return what has become of the runs.

        Args:
            tick: called while there is something to wait for.
        """
        self.drop_all()
        if self._uploads:
            self._uploads.wait(tick)
        left = len(self._ledger.waiting())
        uploaded = self._uploads.finished if self._uploads else 0
        problem = self._uploads.problem if self._uploads and left else ""
        return {"written": self.written, "uploaded": uploaded, "left": left, "problem": problem}
