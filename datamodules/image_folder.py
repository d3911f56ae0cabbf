"""Image folders: one directory a class, read sample by sample by worker processes, ahead of training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from recipebench.datamodules.catalog import check_validation, held_out_count, validation_count
from recipebench.datamodules.draws import permutation
from recipebench.datamodules.options import whole
from recipebench.errors import RequestError

SUFFIXES = (".npy", ".pgm")
"""The files that are taken for images; others are left alone."""

Pixels = npt.NDArray[np.uint8]


def read_image(path: str | Path) -> Pixels:
    """Read a gray image.

    Args:
        path: `.pgm` (binary, P5, at most 8 bits) or `.npy` (uint8, two dimensions).

    Returns:
        uint8 (height, width).

    Raises:
        RequestError: the file is not what its name says.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _npy(path)
    return _pgm(path)


class ImageFolderDataset(Dataset[tuple[Tensor, Tensor]]):
    """The images below a folder, one directory a class, each read when it is asked for.

    Classes are numbered in the order of their directories' names; images are sorted by class and name,
    so that every machine numbers them alike.

    Args:
        root: the folder; its directories are the classes, and their `SUFFIXES` files the images.

    Attributes:
        classes: names of the directories, sorted.
        files: path and class number of each image.

    Raises:
        RequestError: there is no such folder, or it has no classes, or a class has no images.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (root / name).mkdir()
        ...     np.save(root / name / "0.npy", np.full((2, 2), 255, np.uint8))
        >>> data = ImageFolderDataset(root)
        >>> data.classes, len(data), data[1][0].shape, data[1][1].item()
        (['cat', 'dog'], 2, torch.Size([1, 2, 2]), 1)
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise RequestError(f"image folder: expected a folder with one directory a class, got {root}.")
        directories = sorted(entry for entry in self.root.iterdir() if entry.is_dir())
        self.classes = [directory.name for directory in directories]
        if not directories:
            raise RequestError(f"image folder: expected one directory a class in {root}, found none.")
        self.files = [(file, label) for label, home in enumerate(directories) for file in _images(home)]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one image: float32 (1, height, width) in [0, 1], and its class, int64 ()."""
        path, label = self.files[index]
        pixels = torch.from_numpy(read_image(path).astype(np.float32))
        return pixels.div_(255.0).unsqueeze(0), torch.tensor(label)


class EpochOrder(Sampler[int]):
    """The places of n samples in an epoch's order, drawn from the names of data set, seed and epoch.

    A resumed run so sees the orders that it would have seen, with any number of workers; Lightning
    calls `set_epoch` before each training epoch.

    Args:
        n: samples.
        seed: names the orders.
        epoch: counted from 0, of the first iteration.
    """

    def __init__(self, n: int, *, seed: int, epoch: int = 0) -> None:
        self.n = n
        self.seed = seed
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0, whose order the next iteration follows."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        return iter(permutation(self.n, "order", "image_folder", self.seed, self.epoch + 1).tolist())


class ImageFolder(LightningDataModule):
    """A folder of images as a Lightning data module: `Dataset`, `DataLoader`, worker processes, prefetching.

    Nothing is kept in memory: each worker process reads the images of a batch and collates them while
    the model trains on earlier ones, so that decoding and training overlap. For data that fit in
    memory, `TensorDataModule` is many times faster. Batches are the same with any number of workers.

    Args:
        root: the folder; one directory a class (see `ImageFolderDataset`), all images of one size.
        batch_size: samples a batch; the last batch of an epoch may be shorter.
        workers: processes that read images; 0 reads them in the training process.
        prefetch: batches that each worker keeps ready.
        validation: samples (int) or share (float) of the training data set aside for validation; 0.2
            of all images are held out as the test set before.
        drop_last: whether a short last training batch is dropped.
        seed: names split and orders.

    Attributes:
        classes: names of the classes; there after `setup`.

    Raises:
        RequestError: an option has the wrong type or value.

    References:
        Paszke et al., PyTorch, torch.utils.data; torchvision, ImageFolder (the layout).
    """

    def __init__(
        self,
        root: str | Path,
        *,
        batch_size: int = 128,
        workers: int = 2,
        prefetch: int = 2,
        validation: int | float = 0.1,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.batch_size = whole("batch_size", batch_size, minimum=1)
        self.workers = whole("workers", workers, minimum=0)
        self.prefetch = whole("prefetch", prefetch, minimum=1)
        check_validation(validation, "image folder")
        self.validation_size = validation
        self.drop_last = drop_last
        self.seed = whole("seed", seed, minimum=0)
        self._splits: dict[str, Subset[tuple[Tensor, Tensor]]] = {}

    @property
    def task(self) -> str:
        """What is learned: `classification`."""
        return "classification"

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of their numbers."""
        return list(self._dataset.classes)

    def setup(self, stage: str | None = None) -> None:
        """List the images and split them; a second call does nothing.

        Args:
            stage: Lightning's name for what follows; all splits are made whatever it is.

        Raises:
            RequestError: the folder is not laid out as expected, or `validation` does not fit.
        """
        if self._splits:
            return
        self._dataset = ImageFolderDataset(self.root)
        shuffled = permutation(len(self._dataset), "split", "image_folder", self.seed)
        held_out = held_out_count(len(shuffled))
        count = validation_count(self.validation_size, len(shuffled) - held_out, "image folder")
        sizes = [held_out, count, len(shuffled) - held_out - count]
        for name, piece in zip(("test", "validation", "train"), shuffled.split(sizes), strict=True):
            self._splits[name] = Subset(self._dataset, piece.sort().values.tolist())

    def split(self, name: str) -> Subset[tuple[Tensor, Tensor]]:
        """Return the samples of `train`, `validation` or `test`; there after `setup`."""
        if not self._splits:
            raise RuntimeError(f"image folder: call setup() before {name}.")
        return self._splits[name]

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the training batches, in a new order every epoch."""
        # Workers read ahead before Lightning names the epoch, so a resumed run has to name it here.
        epoch = self.trainer.current_epoch if self.trainer else 0
        order = EpochOrder(len(self.split("train")), seed=self.seed, epoch=epoch)
        return self._loader("train", order, drop_last=self.drop_last)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the validation batches, in a fixed order."""
        return self._loader("validation")

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return the test batches, in a fixed order."""
        return self._loader("test")

    def _loader(
        self, split: str, order: EpochOrder | None = None, *, drop_last: bool = False
    ) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(
            self.split(split),
            batch_size=self.batch_size,
            sampler=order,
            drop_last=drop_last,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            persistent_workers=self.workers > 0,
        )


def _images(home: Path) -> list[Path]:
    with os.scandir(home) as entries:
        names = sorted(entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES))
    if not names:
        raise RequestError(f"image folder: expected images ({', '.join(SUFFIXES)}) in {home}, found none.")
    return [home / name for name in names]


def _npy(path: Path) -> Pixels:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RequestError(f"{path}: expected an image in NumPy's format, got {error}.") from error
    if array.dtype != np.uint8 or array.ndim != 2:
        raise RequestError(
            f"{path}: expected uint8 of shape (height, width), got {array.dtype} {array.shape}."
        )
    return array  # type: ignore[no-any-return]


def _pgm(path: Path) -> Pixels:
    """Read magic, width, height and largest value, each followed by white space, then the pixels."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RequestError(f"{path}: cannot be read: {error}.") from error
    fields: list[bytes] = []
    position = 0
    while len(fields) < 4:
        field, position = _token(data, position)
        if not field:
            raise RequestError(f"{path}: expected a PGM header (P5, width, height, 255), got {data[:20]!r}.")
        fields.append(field)
    if fields[0] != b"P5" or not all(f.isdigit() for f in fields[1:]) or not 0 < int(fields[3]) < 256:
        raise RequestError(f"{path}: expected a PGM header (P5, width, height, 255), got {data[:20]!r}.")
    width, height = int(fields[1]), int(fields[2])
    pixels = data[position + 1 :]
    if len(pixels) != width * height:
        raise RequestError(
            f"{path}: expected {width * height} bytes for {height} x {width} pixels, got {len(pixels)}."
        )
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


def _token(data: bytes, position: int) -> tuple[bytes, int]:
    """Return the next word from `position` on, comments skipped, and where it ends."""
    while position < len(data) and (data[position : position + 1].isspace() or data[position] == ord("#")):
        position = data.find(b"\n", position) if data[position] == ord("#") else position + 1
        if position < 0:
            return b"", len(data)
    end = position
    while end < len(data) and not data[end : end + 1].isspace():
        end += 1
    return data[position:end], end
