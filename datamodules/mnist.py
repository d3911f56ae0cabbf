"""MNIST and Fashion-MNIST: the official files, found or downloaded, verified and decoded once a process."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Unpack

import numpy as np
import torch
from torch import Tensor

from recipebench.datamodules import fetch, idx
from recipebench.datamodules.base import Options, Samples, TensorDataModule
from recipebench.datamodules.catalog import FACTS, File
from recipebench.errors import RequestError


class IdxImages(TensorDataModule):
    """Images and labels in four IDX files, with an official test set that stays as it is.

    Args:
        data_dir: folder in torchvision's layout (`<data_dir>/MNIST/raw/*.gz`, or unpacked), looked into
            first; then `$RECIPEBENCH_DATA`, then the user's cache folder.
        **options: see `TensorDataModule`.

    Raises:
        RequestError: an option has the wrong type or value.
    """

    needs_files: ClassVar[bool] = True

    def __init__(self, *, data_dir: str | Path | None = None, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        self.data_dir = data_dir

    def prepare_data(self) -> None:
        """Verify the files, and download what is missing into the cache folder.

        Raises:
            RequestError: a file is corrupt or cannot be had.
        """
        fetch.ensure(self.choice, self.data_dir)

    def load(self) -> tuple[Samples, Samples]:
        """Return training and test images, uint8 (n, 1, 28, 28), with their classes, int64 (n,).

        Raises:
            RequestError: a file is missing (`prepare_data` downloads it) or corrupt.
        """
        tensors = [self._decoded(file) for file in self.facts.files]
        return Samples(tensors[0], tensors[1]), Samples(tensors[2], tensors[3])

    def _decoded(self, file: File) -> Tensor:
        folders = fetch.search_folders(self.data_dir)
        path = fetch.find(file, folders)
        if path is None:
            raise fetch.missing(file, self.facts, folders, ["prepare_data() was not called, so no download"])
        return _decoded(file, path.resolve())


class MNIST(IdxImages):
    """Handwritten digits: 60,000 training and 10,000 test images of 28 x 28 pixels, ten classes.

    Args:
        data_dir: where to look for the files first; see `IdxImages`.
        **options: see `TensorDataModule`.

    References:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """

    name = "mnist"
    facts = FACTS["mnist"]


class FashionMNIST(IdxImages):
    """Photographs of clothing: 60,000 training and 10,000 test images of 28 x 28 pixels, ten classes.

    Args:
        data_dir: where to look for the files first; see `IdxImages`.
        **options: see `TensorDataModule`.

    References:
        Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017.
    """

    name = "fashion_mnist"
    facts = FACTS["fashion_mnist"]


_Key = tuple[File, Path, int, int]
_DECODED: dict[_Key, tuple[Tensor, int]] = {}


def _decoded(file: File, path: Path) -> Tensor:
    """Return a file as a tensor: decoded once a process, again if the file or the tensor was changed."""
    try:
        status = path.stat()
    except OSError as error:
        raise RequestError(f"Cannot read {path}: {error}.") from error
    key = (file, path, status.st_mtime_ns, status.st_size)
    if key in _DECODED:
        tensor, version = _DECODED[key]
        if tensor._version == version:
            return tensor
    with torch.inference_mode(False):
        tensor = _decode(fetch.read(file, path), str(path))
    _DECODED[key] = tensor, tensor._version
    return tensor


def _decode(data: bytes, name: str) -> Tensor:
    array = idx.read(data, name=name)
    if array.ndim == 1:
        return torch.from_numpy(array.astype(np.int64))
    return torch.from_numpy(array.copy()).unsqueeze(1)
