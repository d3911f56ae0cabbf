"""Finding, verifying and downloading, with real pooch and a server on the loopback interface."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recipebench.datamodules import fetch
from recipebench.datamodules.catalog import FACTS
from recipebench.errors import RequestError
from recipebench.levels import Choice

MNIST = Choice("mnist", {})
IMAGES = "train-images-idx3-ubyte.gz"


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def flip(path: Path) -> bytes:
    """Flip one bit in the middle of a file and return the new content."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return bytes(data)


@pytest.mark.parametrize("unpacked", [False, True])
def test_data_dir_comes_first_then_the_variable_then_the_cache(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unpacked: bool
) -> None:
    mine = tiny.write(tmp_path / "mine", unpacked=unpacked)
    shared = tiny.write(tmp_path / "shared", unpacked=unpacked)
    cached = tiny.write(tmp_path / "cache", unpacked=unpacked)

    def places(data_dir: Path | None) -> set[Path]:
        return {path.parents[2] for path in fetch.locate(MNIST, data_dir).values() if path}

    assert places(mine) == {mine}
    assert places(None) == {cached}
    monkeypatch.setenv(fetch.ENVIRONMENT, str(shared))
    assert places(None) == {shared}
    assert places(mine) == {mine}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert places(empty) == {shared}


def test_locate_says_what_is_missing(tiny: Any, tmp_path: Path) -> None:
    mine = tiny.write(tmp_path / "mine")
    (mine / tiny.facts.files[2].path).unlink()

    found = fetch.locate(MNIST, mine)

    assert [path is not None for path in found.values()] == [True, True, False, True]


def test_data_sets_without_files_need_nothing(tmp_path: Path) -> None:
    assert fetch.locate(Choice("digits", {}), tmp_path / "nowhere") == {}
    fetch.ensure(Choice("synthetic_regression", {}), tmp_path / "nowhere")

    assert files_below(tmp_path) == []


def test_a_folder_that_does_not_exist_is_refused(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RequestError, match=r"^data_dir: expected an existing folder, got '.*nowhere'\.$"):
        fetch.ensure(MNIST, tmp_path / "nowhere")
    monkeypatch.setenv(fetch.ENVIRONMENT, str(tmp_path / "gone"))
    with pytest.raises(RequestError, match=r"^\$RECIPEBENCH_DATA: expected an existing folder, got '.*gone'"):
        fetch.ensure(MNIST)


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(RequestError, match=r"Did you mean 'mnist'\?"):
        fetch.ensure(Choice("mnits", {}))


def test_the_cache_folder_is_the_users_own() -> None:
    folder = fetch.cache_folder()

    assert folder.is_absolute()
    assert folder.parts[-1] == "data"
    assert "recipebench" in folder.parts


@pytest.mark.parametrize("unpacked", [False, True])
def test_good_files_are_read_verified_and_left_alone(tiny: Any, tmp_path: Path, unpacked: bool) -> None:
    mine = tiny.write(tmp_path / "mine", unpacked=unpacked)
    before = files_below(tmp_path)

    fetch.ensure(MNIST, mine)

    found = fetch.locate(MNIST, mine)
    assert [fetch.read(file, path) for file, path in found.items() if path] == list(tiny.plain.values())
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("unpacked", [False, True])
@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "empty"])
def test_a_corrupt_file_of_the_users_own_is_named_and_left_alone(
    tiny: Any, server: Any, tmp_path: Path, unpacked: bool, damage: str
) -> None:
    mine = tiny.write(tmp_path / "mine", unpacked=unpacked)
    file = tiny.facts.files[0]
    path = mine / (file.path.removesuffix(".gz") if unpacked else file.path)
    good = path.read_bytes()
    bad = {"flipped": flip(path), "cut": good[:-1], "longer": good + bytes(9), "empty": b""}[damage]
    path.write_bytes(bad)
    expected = file.plain_sha256 if unpacked else file.sha256
    actual = hashlib.sha256(bad).hexdigest()

    with pytest.raises(fetch.CorruptFileError) as caught:
        fetch.ensure(MNIST, mine)

    assert str(caught.value).startswith(f"{path} is corrupt: expected SHA-256 {expected}, got {actual}.")
    assert path.read_bytes() == bad
    assert server.requests == []


def test_an_unreadable_file_is_a_request_error(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tiny.write(tmp_path / "mine")

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RequestError, match=r"^Cannot read .*train-images.*Permission denied"):
        fetch.ensure(MNIST, mine)
    monkeypatch.setattr(Path, "is_file", refuse)
    with pytest.raises(RequestError, match=r"^Cannot look for .*train-images.*Permission denied"):
        fetch.ensure(MNIST, mine)


def test_missing_files_are_downloaded_once(tiny: Any, server: Any, tmp_path: Path) -> None:
    fetch.ensure(MNIST)

    assert server.requests == list(tiny.packed)
    assert files_below(tmp_path / "cache") == sorted(f"MNIST/raw/{name}" for name in tiny.packed)
    fetch.ensure(MNIST)
    assert server.requests == list(tiny.packed)


def test_only_what_is_missing_is_downloaded_and_into_the_cache(
    tiny: Any, server: Any, tmp_path: Path
) -> None:
    mine = tiny.write(tmp_path / "mine")
    (mine / tiny.facts.files[0].path).unlink()

    fetch.ensure(MNIST, mine)

    assert server.requests == [IMAGES]
    assert len(files_below(mine)) == 3
    assert files_below(tmp_path / "cache") == [f"MNIST/raw/{IMAGES}"]


@pytest.mark.parametrize("fault", ["closes midway", "closes midway without length", "wrong byte", "absent"])
def test_a_passing_fault_is_retried(tiny: Any, server: Any, tmp_path: Path, fault: str) -> None:
    server.faults = {IMAGES: [fault]}

    fetch.ensure(MNIST)

    assert server.requests.count(IMAGES) == 2
    assert (tmp_path / "cache" / "MNIST" / "raw" / IMAGES).read_bytes() == tiny.packed[IMAGES]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("closes midway", "IncompleteRead"),
        ("closes midway without length", "SHA256 hash"),
        ("wrong byte", "SHA256 hash"),
        ("absent", "404"),
        ("too long", "more bytes than the file has"),
    ],
)
def test_a_lasting_fault_leaves_nothing_and_says_what_to_do(
    tiny: Any, server: Any, tmp_path: Path, fault: str, reason: str
) -> None:
    server.faults = {IMAGES: [fault] * 10}
    empty = tmp_path / "empty"
    empty.mkdir()

    with pytest.raises(RequestError) as caught:
        fetch.ensure(MNIST, empty)

    message = str(caught.value)
    assert message.startswith(f"MNIST/raw/{IMAGES} is missing. Looked in: {empty}, {tmp_path / 'cache'}.")
    assert f"Tried: {server.url}{IMAGES} (" in message
    assert reason in message
    assert "--data-dir FOLDER" in message
    assert "$RECIPEBENCH_DATA" in message
    assert server.requests == [IMAGES] * (1 + fetch.RETRIES)
    assert files_below(tmp_path) == []


def test_both_hashes_of_a_wrong_download_are_named(tiny: Any, server: Any) -> None:
    server.faults = {IMAGES: ["wrong byte"] * 10}
    wrong = bytes([tiny.packed[IMAGES][0] ^ 1]) + tiny.packed[IMAGES][1:]

    with pytest.raises(RequestError) as caught:
        fetch.ensure(MNIST)

    assert tiny.facts.files[0].sha256 in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)


def test_mirrors_are_tried_in_turn(tiny: Any, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = "http://127.0.0.1:9/"
    mirrors = (closed, server.url + "elsewhere/", server.url)
    monkeypatch.setitem(FACTS, "mnist", replace(tiny.facts, mirrors=mirrors))
    server.faults = {IMAGES: ["absent"] * (1 + fetch.RETRIES)}

    fetch.ensure(MNIST)

    assert server.requests.count(IMAGES) == 2 + fetch.RETRIES
    server.faults = {IMAGES: ["absent"] * 10}
    (fetch.cache_folder() / "MNIST" / "raw" / IMAGES).unlink()
    with pytest.raises(RequestError) as caught:
        fetch.ensure(MNIST)
    positions = [str(caught.value).find(f"{mirror}{IMAGES} (") for mirror in mirrors]
    assert positions == sorted(positions)
    assert positions[0] > 0


def test_a_corrupt_file_in_the_cache_is_fetched_again(tiny: Any, server: Any, tmp_path: Path) -> None:
    cache = tiny.write(tmp_path / "cache")
    path = cache / tiny.facts.files[0].path
    flip(path)

    fetch.ensure(MNIST)

    assert server.requests == [IMAGES]
    assert path.read_bytes() == tiny.packed[IMAGES]


def test_a_corrupt_unpacked_file_in_the_cache_is_outweighed_by_a_good_one(
    tiny: Any, server: Any, tmp_path: Path
) -> None:
    cache = tiny.write(tmp_path / "cache", unpacked=True)
    flip(cache / tiny.facts.files[0].path.removesuffix(".gz"))

    fetch.ensure(MNIST)

    found = fetch.locate(MNIST)
    assert server.requests == [IMAGES]
    assert [fetch.read(file, path) for file, path in found.items() if path] == list(tiny.plain.values())


def test_a_corrupt_file_in_the_cache_that_cannot_be_fetched_is_an_error_with_both_hashes(
    tiny: Any, server: Any, tmp_path: Path
) -> None:
    cache = tiny.write(tmp_path / "cache")
    bad = flip(cache / tiny.facts.files[0].path)
    server.faults = {IMAGES: ["absent"] * 10}

    with pytest.raises(RequestError, match="404") as caught:
        fetch.ensure(MNIST)

    hashes = f"expected SHA-256 {tiny.facts.files[0].sha256}, got {hashlib.sha256(bad).hexdigest()}"
    assert hashes in str(caught.value)


def test_a_cache_that_cannot_be_written_is_a_request_error(tiny: Any, server: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")

    with pytest.raises(RequestError, match=re.escape("is missing. Looked in:")):
        fetch.ensure(MNIST)

    assert os.listdir(tmp_path) == ["cache"]
