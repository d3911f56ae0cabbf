"""File operations that survive a crash (temporary name, fsync, rename, fsync of the folder) and the lock."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import FrameType

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TEMPORARY = ".tmp"
"""The ending of a file that is still being written."""

_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_FIXES = {
    errno.ENOSPC: "free some disk space",
    errno.EDQUOT: "free some space of your quota",
    errno.EIO: "check the disk",
}


class StoreError(Exception):
    """The disk failed the store: the message says what, and what was committed before stays intact."""


class Busy(Exception):  # noqa: N818 - a state, turned into a RequestError by the store
    """Another process holds the lock; its text names that process."""


def is_disk_failure(error: OSError) -> bool:
    """Whether the disk is to blame (full, over quota, broken) and not the folder that was named."""
    return error.errno in _FIXES


@contextlib.contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn an `OSError` of the body into one `StoreError`.

    Args:
        doing: what was tried, to follow `Could not`, for example `write 3 cells to the store runs`.

    Raises:
        StoreError: with the system's reason and what to do.
    """
    try:
        yield
    except OSError as error:
        fix = _FIXES.get(error.errno or 0, "make it accessible")
        reason = error.strerror or str(error)
        raise StoreError(
            f"Could not {doing}: {reason}. What was committed before is intact; "
            f"{fix}, then run the same command again."
        ) from error


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file; a symbolic link is not followed.

    Raises:
        OSError: the file is missing, a link, or cannot be read.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NO_LINKS)) as file:
        return file.read()


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write files of one folder so that each is either absent or whole, and on the disk on return.

    All are written under temporary names and synced before the first is renamed; the folder is
    synced last. On a failure none of them remains (as far as the disk still obeys).

    Raises:
        OSError: the disk refused a step.
    """
    temporary = {path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}"): path for path in files}
    try:
        for name, path in temporary.items():
            _write_synced(name, files[path])
        for name, path in temporary.items():
            os.replace(name, path)
        for folder in {path.parent for path in files}:
            sync_folder(folder)
    except BaseException:
        discard([*temporary, *files])
        raise


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block has ended: a disk that syncs slowly shall not cost finished work."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is None:
        yield
        return
    held: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda *event: held.append(event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if held and callable(handler):
            handler(*held[0])


def _write_synced(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINKS, 0o644)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard(paths: list[Path]) -> None:
    """Remove what can be removed of a write that failed; its own failure must not hide the first one."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def remove_files(paths: list[Path]) -> None:
    """Remove files of one folder, durably; those that are gone already do not matter."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    for folder in {path.parent for path in paths}:
        sync_folder(folder)


def move_file(path: Path, folder: Path) -> Path:
    """Move a file (or link) into a folder under its own name, or a numbered one where that is taken."""
    os.makedirs(folder, exist_ok=True)
    target, number = folder / path.name, 0
    while os.path.lexists(target):
        number += 1
        target = folder / f"{path.name}.{number}"
    os.replace(path, target)
    sync_folder(folder)
    sync_folder(path.parent)
    return target


def make_folder(path: Path) -> None:
    """Create a folder and its parents, durably."""
    missing = [path, *path.parents]
    missing = missing[: next((i for i, p in enumerate(missing) if p.is_dir()), len(missing))]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.mkdir(folder)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; Windows has no such call and needs none."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def list_folder(folder: Path) -> list[str]:
    """Return the sorted names in a folder, as they stood at one moment.

    Reading a large folder is not atomic: while files are renamed in and removed, one pass may miss
    both the new and the old. Two passes that agree have missed nothing.
    """
    names = sorted(os.listdir(folder))
    while (again := sorted(os.listdir(folder))) != names:
        names = again
    return names


class FileLock:
    """A lock between processes that the kernel releases when its holder ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object, in this process, holds the lock."""
        return self._descriptor is not None

    def acquire(self, *, wait: bool) -> None:
        """Take the lock, now or, with `wait`, when it is free.

        Raises:
            Busy: another process holds it and `wait` is false.
            OSError: the file cannot be opened or locked.
        """
        while not self._try(wait):
            pass  # the file was replaced while we waited: lock the new one
        assert self._descriptor is not None
        since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        try:
            os.ftruncate(self._descriptor, 0)
            os.write(self._descriptor, json.dumps({"pid": os.getpid(), "since": since}).encode())
        except BaseException:
            self.release()
            raise

    def _try(self, wait: bool) -> bool:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o644)
        try:
            _lock_descriptor(descriptor, wait)
            same = os.path.exists(self.path) and os.path.samestat(os.fstat(descriptor), os.stat(self.path))
        except BlockingIOError:
            os.close(descriptor)
            raise Busy(self._holder()) from None
        except BaseException:
            os.close(descriptor)
            raise
        if not same:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        _held.add(self)
        return True

    def _holder(self) -> str:
        for _ in range(20):  # the holder writes its number right after it got the lock
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                note = json.loads(self.path.read_bytes())
                return f"process {int(note['pid'])} since {str(note['since'])[:40]}"
            time.sleep(0.01)
        return "another process"

    def release(self) -> None:
        """Free the lock."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        _held.discard(self)
        with contextlib.suppress(OSError):  # the note is information only
            os.ftruncate(descriptor, 0)
        _unlock_descriptor(descriptor)
        os.close(descriptor)

    def _forget(self) -> None:
        """Close the copy that a forked child got, or an orphan would keep the lock of a dead parent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_held):
        lock._forget()
    _held.clear()


if sys.platform == "win32":
    _PLACE = 1 << 30  # behind the note, which stays readable

    def _lock_descriptor(descriptor: int, wait: bool) -> None:
        while True:
            os.lseek(descriptor, _PLACE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except OSError as error:
                if not wait:
                    raise BlockingIOError from error
                time.sleep(0.2)
            else:
                os.lseek(descriptor, 0, os.SEEK_SET)
                return

    def _unlock_descriptor(descriptor: int) -> None:
        os.lseek(descriptor, _PLACE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    os.register_at_fork(after_in_child=_forget_all)

    def _lock_descriptor(descriptor: int, wait: bool) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))

    def _unlock_descriptor(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
