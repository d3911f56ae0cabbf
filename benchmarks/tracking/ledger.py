"""What has been written: which record of which cell is in which folder, so that nothing is twice."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

NAME = "written.jsonl"
"""The ledger's file in the tracking folder: one entry a line; of two for a run, the later counts."""


@dataclass(frozen=True)
class Entry:
    """One finished run.

    Args:
        run: its id: a cell's, or the suite's.
        target: entity and project.
        version: of the record that it holds, see `content.version`.
        folder: its folder below the tracking folder.
        uploaded: whether it was written straight to a server.
    """

    run: str
    target: str
    version: str
    folder: str
    uploaded: bool = False


class Ledger:
    """The finished runs of a tracking folder.

    A line that a crash has torn counts as not written: its run is written again, over the first.

    Args:
        folder: the tracking folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / NAME
        self._entries: dict[tuple[str, str], Entry] = {}
        for entry in self._read():
            self._entries[entry.target, entry.run] = entry

    def _read(self) -> list[Entry]:
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                found.append(Entry(**json.loads(line)))
            except (ValueError, TypeError):  # torn
                continue
        return found

    def has(self, target: str, run: str, version: str) -> bool:
        """Whether this very record has been written."""
        entry = self._entries.get((target, run))
        return entry is not None and entry.version == version

    def add(self, entry: Entry) -> None:
        """Write down that a run is finished; what was written of it before goes, if it was not uploaded."""
        before = self._entries.get((entry.target, entry.run))
        self._entries[entry.target, entry.run] = entry
        with self._path.open("a+b") as file:
            torn = file.tell() > 0 and _last_byte(file) != b"\n"
            file.write((b"\n" if torn else b"") + json.dumps(asdict(entry)).encode() + b"\n")
        if (
            before
            and before.folder != entry.folder
            and not is_uploaded(folder := self.folder / before.folder)
        ):
            shutil.rmtree(folder, ignore_errors=True)

    def waiting(self) -> list[Path]:
        """Return the folders of finished runs that no server has yet."""
        entries = [entry for entry in self._entries.values() if not entry.uploaded]
        folders = [self.folder / entry.folder for entry in entries]
        return [folder for folder in folders if folder.is_dir() and not is_uploaded(folder)]

    def clean(self) -> None:
        """Remove what an interrupted run has left unfinished; a server that has it gets it again, whole."""
        known = {entry.folder for entry in self._entries.values()}
        for folder in sorted((self.folder / "wandb").glob("offline-run-*-*")):
            if str(folder.relative_to(self.folder)) not in known and not is_uploaded(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _last_byte(file: IO[bytes]) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def is_uploaded(folder: Path) -> bool:
    """Whether `wandb sync`, or a run of ours, has uploaded all of a run folder."""
    return any(folder.glob("*.wandb.synced"))
