"""The store: a folder in which finished packs survive crashes, full disks, bit rot and second processes.

```
store.json                      what this folder is, and the version of its format
store.lock                      held (flock) by the one process that writes
shards/<id>.records.parquet     the records of one pack, or of several after compaction
shards/<id>.history.parquet     their histories
shards/<id>.json                the commit marker: cells, statuses, environment, SHA-256 of both files
environments/<id>.json          one file a run
quarantine/                     what was found damaged or unfinished
```

A pack exists once its marker does. The marker comes last and is removed first, and it carries a
checksum of itself. Which of two records of a cell counts does not depend on clocks or file names:
done (ok, diverged) before not done, then the later write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipebench.benchmarks import store_files as files
from recipebench.benchmarks import store_tables as tables
from recipebench.benchmarks.environment import Environment
from recipebench.benchmarks.store_files import StoreError
from recipebench.benchmarks.store_tables import is_time_column
from recipebench.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]

__all__ = ["DONE", "STATUSES", "Store", "StoreError", "is_time_column"]

FORMAT = {"format": "recipebench-store", "version": 1}
DONE = ("ok", "diverged")
"""Statuses of cells that need no further training."""
STATUSES = (*DONE, "failed", "missing")

_CELL_ID = re.compile(r"[0-9a-f]{16}")
_SHARD_ID = re.compile(r"[0-9a-f]{32}")
_SHARD_FILE = re.compile(r"([0-9a-f]{32})\.(?:json|records\.parquet|history\.parquet)(\.\d+\.tmp)?")
_HALF_WRITTEN = re.compile(r"(?:store|[0-9a-f]{16})\.json\.\d+\.tmp")
_KINDS = ("records", "history")
_ALWAYS = {"records": {"cell_id": "str", "status": "str"}, "history": {"cell_id": "str", "epoch": "int"}}
_MOST_TRIES = 1000

# A shard of this size is left alone by compaction: rewriting stays cheap, memory flat, and one
# rotten bit costs so many cells at most.
_FULL_CELLS = 1024
_FULL_BYTES = 16 * 2**20


class _Vanished(Exception):  # noqa: N818 - a state, not an error
    """A file was removed between listing and reading: another process compacted; look again."""


class _Damaged(Exception):  # noqa: N818
    """A shard's bytes are not what its marker says."""

    def __init__(self, shard_id: str, reason: str) -> None:
        super().__init__(reason)
        self.shard_id = shard_id


@dataclass(frozen=True)
class _Pack:
    """What a marker tells about the cells of one write: build, environment, statuses."""

    sequence: int
    environment: str
    torch: str
    cpu: str
    cells: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        return {
            "sequence": self.sequence,
            "environment": self.environment,
            "torch": self.torch,
            "cpu": self.cpu,
            "cells": dict(self.cells),
        }


@dataclass(frozen=True)
class _Shard:
    """A commit marker, read and checked."""

    id: str
    sequence: int
    packs: tuple[_Pack, ...]
    sizes: Mapping[str, int]
    hashes: Mapping[str, str]
    replaces: tuple[str, ...]

    @property
    def is_full(self) -> bool:
        cells = sum(len(pack.cells) for pack in self.packs)
        return cells >= _FULL_CELLS or sum(self.sizes.values()) >= _FULL_BYTES


@dataclass(frozen=True)
class _Place:
    """Where the record that counts of a cell is."""

    shard: _Shard
    pack: _Pack
    status: str

    @property
    def rank(self) -> tuple[bool, int, int]:
        return self.status in DONE, self.pack.sequence, self.shard.sequence


class Store:
    """A folder of finished packs.

    Looking needs no lock and copes with a process that writes or compacts meanwhile; a folder that
    does not exist looks like an empty store. Writing needs `with store.lock():`, which creates it.

    Args:
        path: the folder.
        compact_above: how many small shards may gather before `lock` compacts them.
        on_problem: called with each new entry of `problems`.

    Raises:
        RequestError: `path` is a file, or a folder of something else, or not readable.
    """

    def __init__(
        self,
        path: str | Path = "runs",
        *,
        compact_above: int = 64,
        on_problem: Callable[[str], None] | None = None,
    ) -> None:
        self.path = Path(path)
        self.problems: list[str] = []
        self._on_problem = on_problem
        self._compact_above = compact_above
        self._aside = self.path / "quarantine"
        self._lock = files.FileLock(self.path / "store.lock")
        self._sequence = 0
        self._verified: set[str] = set()  # shards whose bytes this object has hashed since the last lock
        self._distrusted: set[str] = set()  # shards that may lie in memory only: their sync failed
        with self._opening():
            self._check_folder()

    @property
    def exists(self) -> bool:
        """Whether the folder is a store already."""
        return (self.path / "store.json").is_file()

    # Opening

    @contextlib.contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[Store]:
        """Hold the store for writing: create it, quarantine what is damaged, compact when it pays.

        The kernel frees the lock when the process ends, however it ends.

        Args:
            wait: wait until another process is done, instead of refusing.

        Raises:
            RequestError: the store is in use, or the folder cannot be a store or be written.
            StoreError: the disk is full or broken.
        """
        with self._opening():
            self._check_folder()
            files.make_folder(self.path)
            self._acquire(wait)
        try:
            with self._opening():
                self._prepare()
            self._verified.clear()
            self._clean()
            self._compact_if_many()
            yield self
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        """Tell a wrong folder (the request's fault) from a failing disk."""
        try:
            yield
        except OSError as error:
            if files.is_disk_failure(error):
                with files.disk_errors(f"open the store {self.path}"):
                    raise
            raise RequestError(
                f"The store {self.path} cannot be opened: {error.strerror or error}. "
                "Choose a folder that you can read and write."
            ) from error

    def _check_folder(self) -> None:
        if "\0" in str(self.path):
            raise RequestError(f"The store {str(self.path)!r} is not a possible path: it holds a NUL.")
        if not self.path.exists():
            if self.path.is_symlink():
                raise RequestError(f"The store {self.path} is a link to nothing. Choose a folder.")
            return
        if not self.path.is_dir():
            raise RequestError(f"The store {self.path} is a file; expected a folder.")
        self._check_identity()
        for name in ("shards", "environments", "choices", "quarantine"):
            root, folder = os.path.realpath(self.path), os.path.realpath(self.path / name)
            if not Path(folder).is_relative_to(root):
                raise RequestError(
                    f"The store {self.path} has a {name} folder that leads outside of it. "
                    "Replace that link by a folder."
                )

    def _check_identity(self) -> None:
        try:
            content = files.read_file(self.path / "store.json")
        except FileNotFoundError:
            names = set(files.list_folder(self.path)) - {"store.lock"}
            foreign = sorted(name for name in names if not _HALF_WRITTEN.fullmatch(name))
            if foreign:
                raise RequestError(
                    f"The folder {self.path} is not a store: it has no store.json, but other content "
                    f"({foreign[0]!r}). Choose an empty or a new folder."
                ) from None
            return
        found = _parse_identity(content)
        if found is None:
            raise RequestError(
                f"The store {self.path} has a damaged store.json; expected {json.dumps(FORMAT)}. "
                "If the folder is a store, write this line into that file."
            )
        if found != FORMAT["version"]:
            raise RequestError(
                f"The store {self.path} has format version {found}; expected {FORMAT['version']}. "
                "Use the version of recipebench that wrote it, or another folder."
            )

    def _acquire(self, wait: bool) -> None:
        try:
            self._lock.acquire(wait=wait)
        except files.Busy as busy:
            raise RequestError(
                f"The store {self.path} is in use by {busy}. Wait until it is done, or choose another store."
            ) from None

    def _prepare(self) -> None:
        self._check_folder()
        if not self.exists:
            files.write_files({self.path / "store.json": json.dumps(FORMAT).encode() + b"\n"})
        for name in ("shards", "environments"):
            files.make_folder(self.path / name)

    def _require_lock(self) -> None:
        if not self._lock.held:
            raise RuntimeError("Writing to a store needs `with store.lock():`.")

    # Looking

    def statuses(self) -> dict[str, str]:
        """Return the status of every cell that has a record, by sorted cell id."""
        return {cell: place.status for cell, place in sorted(self._places().items())}

    def cached(self) -> dict[str, str]:
        """Return the cells that count as done, with their status: `ok` or `diverged`.

        All bytes of the store are hashed once for each `lock` (or object, without one).
        """
        return {cell: status for cell, status in self.statuses().items() if status in DONE}

    def builds(self, cell_ids: Iterable[str] | None = None) -> set[tuple[str, str]]:
        """Return the (torch version, class of processor) pairs of done cells, all or these."""
        wanted = None if cell_ids is None else set(cell_ids)
        return {
            (place.pack.torch, place.pack.cpu)
            for cell, place in self._places().items()
            if place.status in DONE and (wanted is None or cell in wanted)
        }

    def records(self, cell_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Return one row a cell, in the given order or sorted by cell id; unknown cells have none.

        Null stays apart from NaN: columns are `Float64`, `Int64`, `boolean` or `str`. Columns are the
        union over all packs, in an order that does not depend on when they were written.
        """
        return tables.to_frame(self._table("records", cell_ids))

    def history(self, cell_ids: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the rows per epoch, cells ordered as in `records`, epochs ascending."""
        return tables.to_frame(self._table("history", cell_ids))

    def digest(self) -> str:
        """Return the SHA-256 of all records and histories without durations.

        Equal for equal content, however it was cut into packs, interrupted or compacted.
        """
        digest = hashlib.sha256()
        for kind in _KINDS:
            tables.update_digest(digest, self._table(kind, None))
        return digest.hexdigest()

    def environment(self, cell_id: str) -> dict[str, Any]:
        """Return the environment of the run that trained a cell.

        Raises:
            RequestError: the cell has no record, or the environment's file is damaged.
        """
        place = self._places().get(cell_id)
        if place is None:
            raise RequestError(f"The store {self.path} has no cell {cell_id!r}.")
        return self._read_environment(place.pack.environment)

    def environments(self, cell_ids: Iterable[str]) -> list[dict[str, Any]]:
        """Return the environment of every run that trained one of these cells, by time of its start.

        Raises:
            RequestError: the file of one is damaged.
        """
        places = self._places()
        ids = {places[cell].pack.environment for cell in cell_ids if cell in places}
        return sorted(
            map(self._read_environment, ids), key=lambda e: (e["started"], json.dumps(e, sort_keys=True))
        )

    def choice(self, search: str) -> dict[str, Any] | None:
        """Return what a search chose, as `keep_choice` was given it; None where it has not yet.

        Raises:
            RequestError: the file is damaged.
        """
        path = self.path / "choices" / f"{search}.json"
        try:
            content = files.read_file(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RequestError(f"The choice {path} cannot be read: {error.strerror}.") from error
        found: dict[str, Any] | None = _parse_choice(content)
        if found is None:
            raise RequestError(
                f"The choice {path} is damaged: its SHA-256 is not the one that it names. Remove the file: "
                "the next run chooses again, from the same trials."
            )
        return found

    def _read_environment(self, environment: str) -> dict[str, Any]:
        path = self.path / "environments" / f"{environment}.json"
        try:
            content = files.read_file(path)
        except OSError as error:
            raise RequestError(f"The environment {path} cannot be read: {error.strerror}.") from error
        if hashlib.sha256(content).hexdigest()[:16] != path.stem:
            raise RequestError(f"The environment {path} is damaged: its SHA-256 differs from its name.")
        found: dict[str, Any] = json.loads(content)
        return found

    def _places(self) -> dict[str, _Place]:
        return _best_places(self._shards())

    def _shards(self) -> list[_Shard]:
        """Return the sound shards; look again when another process moved them meanwhile."""
        with files.disk_errors(f"read the store {self.path}"):
            sound, damaged = self._survey()
        for shard_id, reason in damaged.items():
            self._report(f"Shard {shard_id} {reason}: its cells are not done; the next run sets it aside.")
        return sound

    def _survey(self) -> tuple[list[_Shard], dict[str, str]]:
        """Return the sound shards in order of writing, and the damaged ones with reasons."""
        for _ in range(_MOST_TRIES):
            with contextlib.suppress(_Vanished):
                return self._look()
        raise StoreError(f"The store {self.path} changes faster than it can be read. Try again later.")

    def _look(self) -> tuple[list[_Shard], dict[str, str]]:
        sound, damaged = [], {}
        for shard_id in self._marker_ids():
            try:
                shard = self._read_marker(shard_id)
                self._verify(shard)
            except _Damaged as error:
                damaged[shard_id] = str(error)
            else:
                sound.append(shard)
        return sorted(sound, key=lambda shard: (shard.sequence, shard.id)), damaged

    def _marker_ids(self) -> list[str]:
        try:
            names = files.list_folder(self.path / "shards")
        except FileNotFoundError:
            return []
        ids = [name.removesuffix(".json") for name in names if name.endswith(".json")]
        return [name for name in ids if _SHARD_ID.fullmatch(name) and name not in self._distrusted]

    def _read_marker(self, shard_id: str) -> _Shard:
        try:
            return _parse_marker(shard_id, files.read_file(self._file(shard_id, "json")))
        except FileNotFoundError:
            raise _Vanished from None
        except OSError as error:
            raise _as_damage(shard_id, "commit marker", error) from error

    def _verify(self, shard: _Shard) -> None:
        """Hash both files of a shard, the first time; afterwards only look at their sizes."""
        for kind in _KINDS:
            if shard.id not in self._verified:
                self._content(shard, kind)
            elif self._size(shard, kind) != shard.sizes[kind]:
                raise _Damaged(shard.id, f"has a {kind} file of the wrong size")
        self._verified.add(shard.id)

    def _content(self, shard: _Shard, kind: str) -> bytes:
        """Return the verified bytes of a file of a shard."""
        try:
            content = files.read_file(self._file(shard.id, kind))
        except FileNotFoundError:
            raise self._absent(shard.id, kind) from None
        except OSError as error:
            raise _as_damage(shard.id, f"{kind} file", error) from error
        if hashlib.sha256(content).hexdigest() != shard.hashes[kind]:
            self._verified.discard(shard.id)
            raise _Damaged(
                shard.id,
                f"has a {kind} file that differs from its SHA-256 "
                f"({len(content)} bytes, expected {shard.sizes[kind]})",
            )
        return content

    def _size(self, shard: _Shard, kind: str) -> int:
        try:
            return self._file(shard.id, kind).stat().st_size
        except FileNotFoundError:
            raise self._absent(shard.id, kind) from None

    def _absent(self, shard_id: str, kind: str) -> Exception:
        """Tell a shard that was removed (marker first) from one that lost a file."""
        if self._file(shard_id, "json").exists():
            return _Damaged(shard_id, f"lost its {kind} file")
        return _Vanished()

    def _file(self, shard_id: str, kind: str) -> Path:
        return self.path / "shards" / f"{shard_id}.{kind}{'' if kind == 'json' else '.parquet'}"

    def _table(self, kind: str, cell_ids: Iterable[str] | None) -> pa.Table:
        order = None if cell_ids is None else list(dict.fromkeys(cell_ids))
        for _ in range(_MOST_TRIES):
            places = _best_places(self._shards())
            wanted = sorted(places) if order is None else [cell for cell in order if cell in places]
            try:
                return self._gather(kind, {cell: places[cell].shard for cell in wanted}, wanted)
            except (_Vanished, _Damaged):  # the next look leaves it out
                continue
        raise StoreError(f"The store {self.path} changes faster than it can be read. Try again later.")

    def _gather(self, kind: str, owners: Mapping[str, _Shard], order: Sequence[str]) -> pa.Table:
        """Read the rows of cells from the shards that own them, sorted by `order` and epoch."""
        shards: dict[str, tuple[_Shard, list[str]]] = {}
        for cell, shard in owners.items():
            shards.setdefault(shard.id, (shard, []))[1].append(cell)
        parts = [tables.table_from_rows([], _ALWAYS[kind])]
        for shard, cells in shards.values():
            with files.disk_errors(f"read the store {self.path}"):
                content = self._content(shard, kind)
            parts.append(tables.keep_cells(tables.from_bytes(content), cells))
        return tables.in_order(tables.join(parts), order)

    def _report(self, problem: str) -> None:
        if problem not in self.problems:
            self.problems.append(problem)
            if self._on_problem is not None:
                self._on_problem(problem)

    # Writing

    def begin_run(self, environment: Environment) -> str:
        """Write down a run's environment once and return its id, for `write`.

        Raises:
            StoreError: the disk is full or broken.
        """
        self._require_lock()
        path = self.path / "environments" / f"{environment.id}.json"
        content = json.dumps(environment.to_json(), sort_keys=True, separators=(",", ":"))
        with files.disk_errors(f"write to the store {self.path}"):
            if not path.exists():
                files.write_files({path: content.encode()})
        return environment.id

    def write(
        self, records: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]], environment: str
    ) -> None:
        """Commit the records and histories of one pack; on return they are on the disk.

        Args:
            records: one flat row a cell, with `cell_id` and `status`; also `torch` and `cpu` where known.
            history: flat rows with `cell_id` and `epoch`.
            environment: what `begin_run` returned.

        Raises:
            ValueError: rows that do not belong together.
            TypeError: a value that is not a bool, int, float, str or None.
            StoreError: the disk is full or broken; nothing of the pack counts as done.
        """
        self._require_lock()
        _check_rows(records, history)
        if not _CELL_ID.fullmatch(environment) or not self._environment_exists(environment):
            raise ValueError(f"Expected the id of an environment from begin_run, got {environment!r}.")
        content = {
            "records": tables.to_bytes(tables.table_from_rows(records, _ALWAYS["records"])),
            "history": tables.to_bytes(tables.table_from_rows(history, _ALWAYS["history"])),
        }
        packs = _group_by_build(records, self._sequence + 1, environment)
        with files.disk_errors(f"write {len(records)} finished cells to the store {self.path}"):
            self._commit(content, packs, replaces=())

    def keep_choice(self, search: str, choice: Mapping[str, Any]) -> None:
        """Write down what a search chose, before anything is trained with it; a choice is made once.

        Raises:
            StoreError: the disk is full or broken.
            ValueError: the search has chosen already.
        """
        self._require_lock()
        if self.choice(search) is not None:
            raise ValueError(f"Search {search} has chosen already.")
        path = self.path / "choices" / f"{search}.json"
        with files.disk_errors(f"write {path}"):
            files.make_folder(path.parent)
            files.write_files({path: _choice_bytes(choice)})

    def _environment_exists(self, environment: str) -> bool:
        return (self.path / "environments" / f"{environment}.json").is_file()

    def _commit(
        self, content: Mapping[str, bytes], packs: Sequence[_Pack], replaces: tuple[str, ...]
    ) -> None:
        """Write the files of a shard, then its marker; on a failure none of them."""
        sequence = self._sequence + 1
        hashes = {kind: hashlib.sha256(data).hexdigest() for kind, data in content.items()}
        name = json.dumps([sequence, hashes, replaces]).encode()
        sizes = {kind: len(data) for kind, data in content.items()}
        shard_id = hashlib.sha256(name).hexdigest()[:32]
        shard = _Shard(shard_id, sequence, tuple(packs), sizes, hashes, replaces)
        data_files = {self._file(shard_id, kind): data for kind, data in content.items()}
        with files.uninterrupted():
            self._distrusted.add(shard_id)
            try:
                files.write_files(data_files)
                files.write_files({self._file(shard_id, "json"): _marker_bytes(shard)})
            except BaseException:
                files.discard(list(data_files))
                raise
            self._distrusted.discard(shard_id)
            self._verified.add(shard_id)
            self._sequence = sequence

    # Cleaning

    def _clean(self) -> None:
        """Under the lock: quarantine what is damaged or unfinished, remove what was compacted."""
        with files.disk_errors(f"clean the store {self.path}"):
            sound, damaged = self._survey()
            self._sequence = max((shard.sequence for shard in sound), default=0)
            for shard_id, reason in damaged.items():
                self._quarantine(shard_id, reason)
            replaced = {shard_id for shard in sound for shard_id in shard.replaces}
            self._remove(replaced)
            self._quarantine_unfinished({shard.id for shard in sound})
            for folder in (self.path, self.path / "environments", self.path / "choices"):
                names = files.list_folder(folder) if folder.exists() else []
                files.remove_files([folder / name for name in names if _HALF_WRITTEN.fullmatch(name)])

    def _quarantine(self, shard_id: str, reason: str) -> None:
        for path in self._files_of([shard_id]):
            files.move_file(path, self._aside)
        self._verified.discard(shard_id)
        self._report(f"Shard {shard_id} {reason}: moved to {self._aside}; its cells are not done.")

    def _quarantine_unfinished(self, committed: set[str]) -> None:
        found = [_SHARD_FILE.fullmatch(name) for name in files.list_folder(self.path / "shards")]
        leftovers = [match for match in found if match and (match[1] not in committed or match[2])]
        for shard_id in sorted({match[1] for match in leftovers}):
            names = [match[0] for match in leftovers if match[1] == shard_id]
            for name in names:
                files.move_file(self.path / "shards" / name, self._aside)
            self._report(
                f"Shard {shard_id} was not finished (a run was interrupted): {len(names)} files "
                f"moved to {self._aside}; its cells are not done."
            )

    def _files_of(self, shard_ids: Iterable[str]) -> list[Path]:
        """Return the existing files of shards, all markers first."""
        ids = sorted(shard_ids)
        paths = [self._file(shard_id, kind) for kind in ("json", *_KINDS) for shard_id in ids]
        return [path for path in paths if path.is_symlink() or path.exists()]

    def _remove(self, shard_ids: Iterable[str]) -> None:
        paths = self._files_of(shard_ids)
        markers = [path for path in paths if path.suffix == ".json"]
        files.remove_files(markers)
        files.remove_files([path for path in paths if path.suffix != ".json"])

    # Compaction

    def compact(self) -> None:
        """Merge small shards, dropping records that were superseded.

        Shards grow to about 1,000 cells and stay. The merged shard is committed, naming those that it
        replaces; from then on they do not count, and they are removed. Killed at any point, the store
        holds each cell once.

        Raises:
            StoreError: the disk is full or broken; the store is as before.
        """
        self._require_lock()
        with files.disk_errors(f"compact the store {self.path}"):
            try:
                shards = self._survey()[0]
                owned: dict[str, list[str]] = {}
                for cell, place in _best_places(shards).items():
                    owned.setdefault(place.shard.id, []).append(cell)
                for group in _groups([shard for shard in shards if not shard.is_full]):
                    self._merge(group, owned)
            except (_Damaged, _Vanished):
                self._clean()  # sets the damaged shard aside; the next compaction finds the others

    def _compact_if_many(self) -> None:
        if sum(not shard.is_full for shard in self._shards()) > self._compact_above:
            self.compact()

    def _merge(self, group: Sequence[_Shard], owned: Mapping[str, Sequence[str]]) -> None:
        """Merge shards into one.

        Args:
            group: the shards.
            owned: the cells of every shard whose record there counts, by its id.
        """
        ids = {shard.id for shard in group}
        kept = dict(sorted((cell, shard) for shard in group for cell in owned.get(shard.id, ())))
        content = {kind: tables.to_bytes(self._gather(kind, kept, list(kept))) for kind in _KINDS}
        packs = []
        for shard in group:
            for pack in shard.packs:
                cells = {c: s for c, s in pack.cells.items() if c in kept and kept[c].id == shard.id}
                packs += [dataclasses.replace(pack, cells=cells)] if cells else []
        self._commit(content, packs, replaces=tuple(sorted(ids)))
        self._remove(ids)


def _parse_identity(content: bytes) -> int | None:
    try:
        found = json.loads(content)
        return int(found["version"]) if found["format"] == FORMAT["format"] else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _as_damage(shard_id: str, what: str, error: OSError) -> Exception:
    """A sector that cannot be read or a link is damage of that shard; any other reason is not."""
    if error.errno in (errno.EIO, errno.ELOOP, errno.EISDIR):
        return _Damaged(shard_id, f"has a {what} that cannot be read ({error.strerror})")
    return error


def _marker_bytes(shard: _Shard) -> bytes:
    """Encode a marker canonically, with a checksum of itself at its end."""
    fields = {
        "shard": shard.id,
        "sequence": shard.sequence,
        "sizes": dict(shard.sizes),
        "hashes": dict(shard.hashes),
        "replaces": list(shard.replaces),
        "packs": [pack.to_json() for pack in shard.packs],
    }
    body = json.dumps(fields, separators=(",", ":")).encode()
    return body + b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"


def _choice_bytes(choice: Mapping[str, Any]) -> bytes:
    text = json.dumps(choice, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({"choice": choice, "sha256": digest}, sort_keys=True, indent=1).encode() + b"\n"


def _parse_choice(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
        whole = content == _choice_bytes(found["choice"])
    except (ValueError, KeyError, TypeError):
        return None
    return dict(found["choice"]) if whole else None


def _parse_marker(shard_id: str, content: bytes) -> _Shard:
    """Decode and check a marker.

    Raises:
        _Damaged: it is not byte for byte what was written.
    """
    body = content[:-66]
    if content[-66:] != b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise _Damaged(shard_id, "has a damaged commit marker")
    try:
        fields = json.loads(body)
        shard = _Shard(
            id=fields["shard"],
            sequence=int(fields["sequence"]),
            packs=tuple(_Pack(**pack) for pack in fields["packs"]),
            sizes={kind: int(fields["sizes"][kind]) for kind in _KINDS},
            hashes={kind: str(fields["hashes"][kind]) for kind in _KINDS},
            replaces=tuple(name for name in fields["replaces"] if _SHARD_ID.fullmatch(name)),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise _Damaged(shard_id, "has a commit marker of another program") from error
    if shard.id != shard_id:
        raise _Damaged(shard_id, f"has the commit marker of {shard.id!r}")
    return shard


def _best_places(shards: Sequence[_Shard]) -> dict[str, _Place]:
    """Choose the record that counts of each cell: done before not done, then the later write."""
    replaced = {shard_id for shard in shards for shard_id in shard.replaces}
    best: dict[str, _Place] = {}
    for shard in shards:
        if shard.id in replaced:
            continue
        for pack in shard.packs:
            for cell, status in pack.cells.items():
                place = _Place(shard, pack, status)
                if cell not in best or place.rank >= best[cell].rank:
                    best[cell] = place
    return best


def _groups(shards: Sequence[_Shard]) -> Iterator[list[_Shard]]:
    """Cut small shards into groups that each make about one full shard; one alone stays."""
    group: list[_Shard] = []
    cells = size = 0
    for shard in shards:
        group.append(shard)
        cells += sum(len(pack.cells) for pack in shard.packs)
        size += sum(shard.sizes.values())
        if cells >= _FULL_CELLS or size >= _FULL_BYTES:
            yield group
            group, cells, size = [], 0, 0
    if len(group) > 1:
        yield group


def _check_rows(records: Sequence[Mapping[str, Any]], history: Sequence[Mapping[str, Any]]) -> None:
    for record in records:
        if not isinstance(record.get("cell_id"), str) or not _CELL_ID.fullmatch(record["cell_id"]):
            raise ValueError(f"Expected a cell_id of 16 hex digits, got {record.get('cell_id')!r}.")
        if record.get("status") not in STATUSES:
            raise ValueError(f"Expected a status of {', '.join(STATUSES)}, got {record.get('status')!r}.")
    _refuse_twice("cell", [record["cell_id"] for record in records])
    cells = {record["cell_id"] for record in records}
    for row in history:
        if row.get("cell_id") not in cells:
            raise ValueError(f"The history has a cell without a record: {row.get('cell_id')!r}.")
        if type(row.get("epoch")) is not int:
            raise ValueError(f"Expected a whole number as epoch, got {row.get('epoch')!r}.")
    _refuse_twice("cell and epoch", [(row["cell_id"], row["epoch"]) for row in history])


def _refuse_twice(what: str, keys: list[Any]) -> None:
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise ValueError(f"Expected each {what} once in a pack, got {twice[0]!r} again.")


def _group_by_build(
    records: Sequence[Mapping[str, Any]], sequence: int, environment: str
) -> tuple[_Pack, ...]:
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for record in records:
        build = (str(record.get("torch") or ""), str(record.get("cpu") or ""))
        groups.setdefault(build, {})[record["cell_id"]] = record["status"]
    return tuple(_Pack(sequence, environment, *build, cells) for build, cells in groups.items())
