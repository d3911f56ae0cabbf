"""Where the files of a data set are: found on disk, verified, and downloaded where they are missing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from recipebench.datamodules import idx
from recipebench.datamodules.catalog import DATA, Facts, File, facts_of
from recipebench.errors import RequestError
from recipebench.levels import Choice

ENVIRONMENT = "RECIPEBENCH_DATA"
"""The environment variable that names a data folder."""

RETRIES = 1
"""Further attempts at each mirror after a failed one."""

TIMEOUT = (10.0, 60.0)
"""Seconds to wait for a connection, and for the next bytes."""


class CorruptFileError(RequestError):
    """A local file is not what its name says."""


def ensure(choice: Choice, data_dir: str | Path | None = None) -> None:
    """Have all files of a data set on disk and verified; download into the cache folder what is missing.

    Does nothing for data sets without files. A second call finds everything in place.

    Args:
        choice: the data set.
        data_dir: an existing folder in torchvision's layout (`<data_dir>/MNIST/raw/*.gz`), looked into
            first; then `$RECIPEBENCH_DATA`, then the user's cache folder.

    Raises:
        RequestError: a folder does not exist; a file cannot be had (says where it was looked for and
            what was tried); a file of the user's own is corrupt (it is left alone).
    """
    facts = facts_of(DATA.choose(choice))
    if not facts.files:
        return
    folders = search_folders(data_dir)
    for file in facts.files:
        _ensure_file(file, facts, folders)


def locate(choice: Choice, data_dir: str | Path | None = None) -> dict[File, Path | None]:
    """Say where each file of a data set lies, without reading it; None where it is missing.

    Args:
        choice: the data set.
        data_dir: as for `ensure`.

    Raises:
        RequestError: `data_dir` or `$RECIPEBENCH_DATA` is no folder that can be read.
    """
    facts = facts_of(DATA.choose(choice))
    folders = search_folders(data_dir) if facts.files else []
    return {file: find(file, folders) for file in facts.files}


def search_folders(data_dir: str | Path | None = None) -> list[Path]:
    """Return the folders to look into, in order: `data_dir`, `$RECIPEBENCH_DATA`, the cache folder.

    Raises:
        RequestError: one of the first two is given and is no existing folder.
    """
    given = [("data_dir", data_dir), (f"${ENVIRONMENT}", os.environ.get(ENVIRONMENT))]
    folders = [_existing(name, folder) for name, folder in given if folder]
    return [*folders, cache_folder()]


def cache_folder() -> Path:
    """Return the folder for downloads, inside the user's cache folder of this operating system."""
    import platformdirs

    return platformdirs.user_cache_path("recipebench", appauthor=False) / "data"


def find(file: File, folders: list[Path]) -> Path | None:
    """Return the first place among `folders` where a file lies, compressed or unpacked; None if nowhere.

    Raises:
        RequestError: a folder cannot be looked into.
    """
    for path in _candidates(file, folders):
        try:
            if path.is_file():
                return path
        except OSError as error:
            raise RequestError(f"Cannot look for {path}: {error}.") from error
    return None


def read(file: File, path: Path) -> bytes:
    """Read a file, verify its SHA-256 and return its decompressed content.

    Args:
        file: the facts to verify against: of the compressed file where `path` ends in `.gz`, of the
            decompressed content elsewhere.
        path: where it lies.

    Raises:
        CorruptFileError: another hash; names the file and both hashes.
        RequestError: it cannot be read.
    """
    data = _verified(file, path)
    return idx.decompress(data, name=str(path), limit=file.plain_size) if _is_compressed(path) else data


def name_and_hash(file: File, path: Path) -> tuple[str, str]:
    """Return where a file that `find` found lies below its folder, and the SHA-256 that it must have."""
    if _is_compressed(path):
        return file.path, file.sha256
    return str(PurePosixPath(file.path).with_suffix("")), file.plain_sha256


def missing(file: File, facts: Facts, folders: list[Path], tried: list[str]) -> RequestError:
    """Return the error for a file that is not there: what, where it was looked for, what to do."""
    places = ", ".join(str(folder) for folder in folders)
    attempts = f"Tried: {'; '.join(tried)}. " if tried else ""
    names = ", ".join(other.path for other in facts.files)
    return RequestError(
        f"{file.path} is missing. Looked in: {places}. {attempts}"
        f"Put {names} (or the unpacked files) below a folder of yours and name it by --data-dir FOLDER "
        f"(data_dir= in Python) or ${ENVIRONMENT}."
    )


def _existing(name: str, folder: str | Path) -> Path:
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise RequestError(f"{name}: expected an existing folder, got {str(folder)!r}.")
    return path.resolve()


def _candidates(file: File, folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        packed = folder / file.path
        yield packed
        yield packed.with_suffix("")


def _is_compressed(path: Path) -> bool:
    return path.suffix == ".gz"


def _verified(file: File, path: Path) -> bytes:
    if _is_compressed(path):
        size, expected = file.size, file.sha256
    else:
        size, expected = file.plain_size, file.plain_sha256
    try:
        with path.open("rb") as stream:
            data = stream.read(size + 1)
            digest = hashlib.sha256(data)
            while more := stream.read(1 << 20):
                digest.update(more)
    except OSError as error:
        raise RequestError(f"Cannot read {path}: {error}.") from error
    if digest.hexdigest() != expected:
        raise CorruptFileError(
            f"{path} is corrupt: expected SHA-256 {expected}, got {digest.hexdigest()}. "
            "The file was left as it is; replace it, or remove it to have it downloaded."
        )
    return data


def _ensure_file(file: File, facts: Facts, folders: list[Path]) -> None:
    path = find(file, folders)
    tried: list[str] = []
    if path is not None:
        try:
            _verified(file, path)
        except CorruptFileError as error:
            if not path.is_relative_to(cache_folder()):
                raise
            tried.append(str(error))
        else:
            return
    _download(file, facts, folders, tried)


def _download(file: File, facts: Facts, folders: list[Path], tried: list[str]) -> None:
    target = cache_folder() / file.path
    for mirror in facts.mirrors:
        url = mirror + PurePosixPath(file.path).name
        try:
            _fetch(url, target, file)
        except (
            OSError,
            ValueError,
        ) as error:  # requests' own errors are OSErrors; a wrong hash is a ValueError
            tried.append(f"{url} ({type(error).__name__}: {error})")
        else:
            return
    raise missing(file, facts, folders, tried)


def _fetch(url: str, target: Path, file: File) -> None:
    """Download under a temporary name; pooch renames the file once its hash is right."""
    import pooch  # type: ignore[import-untyped]

    place = pooch.create(
        path=target.parent,
        base_url="",
        registry={target.name: f"sha256:{file.sha256}"},
        urls={target.name: url},
        retry_if_failed=RETRIES,
    )
    place.fetch(target.name, downloader=_Downloader(file.size))


class _Downloader:
    """Pooch's HTTP downloader with a cap on the size, so that no server can fill the disk."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        from pooch import HTTPDownloader

        get = HTTPDownloader(timeout=TIMEOUT, headers={"Accept-Encoding": "identity"}, chunk_size=1 << 16)
        with open(output_file, "wb") as stream:
            get(url, _Capped(stream, self.limit), pooch)


class _Capped:
    """A stream to write to that refuses more than `limit` bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream = stream
        self.left = limit

    def write(self, data: bytes) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(f"the server sent more bytes than the file has, {-self.left} or more")
        return self.stream.write(data)

    def flush(self) -> None:
        self.stream.flush()
