"""MNIST and Fashion-MNIST from the real files, and the rules for files from tiny ones."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recipebench.datamodules import MNIST, FashionMNIST, fetch, mnist
from recipebench.datamodules.catalog import FACTS, File
from recipebench.errors import RequestError


@pytest.mark.parametrize("cls", [MNIST, FashionMNIST])
def test_shapes_types_and_statistics(
    cls: type[MNIST] | type[FashionMNIST], real_files: Callable[[str], dict[File, Path]]
) -> None:
    real_files(cls.name)
    data = cls(validation=5000)
    data.prepare_data()
    data.setup()

    assert data.train.inputs.shape == (60_000, 1, 28, 28)
    assert data.test.inputs.shape == (10_000, 1, 28, 28)
    assert data.train.inputs.dtype == data.test.inputs.dtype == torch.uint8
    assert data.train.targets.dtype == data.test.targets.dtype == torch.int64
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    assert data.train.inputs is data.validation.inputs
    assert data.train.targets.bincount().min() > 5_000
    assert (data.task, data.in_features, data.out_features) == ("classification", 784, 10)


def test_labels_and_pixels_equal_the_files(real_files: Callable[[str], dict[File, Path]]) -> None:
    found = real_files("mnist")
    data = MNIST()
    data.setup()

    assert data.train.targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    raw = found[FACTS["mnist"].files[2]].read_bytes()
    plain = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    assert data.test.inputs.numpy().tobytes() == plain[16:]


@pytest.mark.parametrize("cls", [MNIST, FashionMNIST])
def test_standardized_training_pixels_have_mean_0_and_variance_1(
    cls: type[MNIST] | type[FashionMNIST], real_files: Callable[[str], dict[File, Path]]
) -> None:
    real_files(cls.name)
    data = cls(inputs="standardized")
    data.setup()

    pixels = data.float_inputs(data.train.inputs).double()

    assert pixels.mean().item() == pytest.approx(0, abs=1e-6)
    assert pixels.std(unbiased=False).item() == pytest.approx(1, abs=1e-6)


def test_files_are_decoded_once_a_process(
    real_files: Callable[[str], dict[File, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real_files("mnist")
    first, second = MNIST(seed=0), MNIST(seed=1)
    first.setup()
    monkeypatch.setattr(fetch, "read", None)

    second.setup()

    assert second.train.inputs is first.train.inputs
    assert not torch.equal(second.train.indices, first.train.indices)


@pytest.mark.parametrize("unpacked", [False, True])
def test_compressed_and_unpacked_files_give_the_same(tiny: Any, tmp_path: Path, unpacked: bool) -> None:
    data = MNIST(data_dir=tiny.write(tmp_path / "mine", unpacked=unpacked))
    data.prepare_data()
    data.setup()

    assert data.train.inputs.numpy().tobytes() == tiny.plain["train-images-idx3-ubyte.gz"][16:]
    assert data.test.targets.tolist() == list(tiny.plain["t10k-labels-idx1-ubyte.gz"][8:])
    assert (len(data.train), len(data.validation), len(data.test)) == (27, 3, 10)


def test_prepare_data_downloads_and_setup_does_not(tiny: Any, server: Any) -> None:
    data = MNIST()
    with pytest.raises(RequestError, match=r"train-images.* is missing.*prepare_data\(\) was not called"):
        data.setup()
    assert server.requests == []

    data.prepare_data()
    data.prepare_data()
    data.setup()

    assert server.requests == list(tiny.packed)
    assert len(data.train) == 27


def test_a_file_that_changes_on_disk_is_verified_again(tiny: Any, tmp_path: Path) -> None:
    mine = tiny.write(tmp_path / "mine")
    MNIST(data_dir=mine).setup()
    path = mine / tiny.facts.files[0].path
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(fetch.CorruptFileError, match=tiny.facts.files[0].sha256):
        MNIST(data_dir=mine).setup()


def test_a_tensor_that_somebody_wrote_to_is_not_handed_out_again(tiny: Any, tmp_path: Path) -> None:
    mine = tiny.write(tmp_path / "mine")
    first, second = MNIST(data_dir=mine), MNIST(data_dir=mine)
    first.setup()
    first.train.inputs.zero_()

    second.setup()

    assert second.train.inputs.numpy().tobytes() == tiny.plain["train-images-idx3-ubyte.gz"][16:]


def test_loading_inside_inference_mode_gives_ordinary_tensors(tiny: Any, tmp_path: Path) -> None:
    mine = tiny.write(tmp_path / "mine")
    with torch.inference_mode():
        MNIST(data_dir=mine).setup()
    data = MNIST(data_dir=mine)
    data.setup()

    assert not data.train.inputs.is_inference()
    assert not data.train.targets.is_inference()


def test_a_file_that_vanishes_is_a_request_error(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^Cannot read .*gone\.gz"):
        mnist._decoded(tiny.facts.files[0], tmp_path / "gone.gz")


def test_only_data_from_files_take_a_folder() -> None:
    from recipebench.datamodules import DATA_MODULES

    assert {name for name, cls in DATA_MODULES.items() if cls.needs_files} == {"mnist", "fashion_mnist"}
    assert all(bool(FACTS[name].files) == cls.needs_files for name, cls in DATA_MODULES.items())
