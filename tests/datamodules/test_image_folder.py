"""Image folders: real files, worker processes, prefetching, and Lightning's loops over them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.data import DataLoader, get_worker_info

from recipebench.datamodules.image_folder import ImageFolder, ImageFolderDataset, read_image
from recipebench.errors import RequestError

LEAN: dict[str, Any] = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def write_pgm(path: Path, image: np.ndarray, comment: bytes = b"") -> None:
    height, width = image.shape
    path.write_bytes(b"P5\n" + comment + b"%d %d\n255\n" % (width, height) + image.tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty digits in a directory for each of three classes, half of them PGM, half NumPy files."""
    root = tmp_path_factory.mktemp("images")
    bunch = load_digits(n_class=3)
    for i in range(60):
        home = root / f"digit {bunch.target[i]}"
        home.mkdir(exist_ok=True)
        image = (bunch.images[i] * 15).astype(np.uint8)
        if i % 2:
            write_pgm(home / f"{i:03}.pgm", image)
        else:
            np.save(home / f"{i:03}.npy", image)
    (root / "digit 0" / "notes.txt").write_text("no image")
    return root


def test_images_and_classes_are_those_of_the_files(folder: Path) -> None:
    data = ImageFolderDataset(folder)
    bunch = load_digits(n_class=3)

    assert data.classes == ["digit 0", "digit 1", "digit 2"]
    assert len(data) == 60
    for index, (path, label) in enumerate(data.files):
        image, target = data[index]
        i = int(path.stem)
        expected = torch.from_numpy((bunch.images[i] * 15).astype(np.float32) / 255)
        assert torch.equal(image, expected[None])
        assert (target.item(), label) == (bunch.target[i], bunch.target[i])
        assert (image.dtype, target.dtype) == (torch.float32, torch.int64)


def batches(data: ImageFolder, epoch: int) -> list[tuple[Tensor, Tensor]]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    return [(x, y) for x, y in loader]


def test_two_workers_give_what_none_give(folder: Path) -> None:
    alone, together = (ImageFolder(folder, batch_size=16, workers=workers) for workers in (0, 2))
    alone.setup()
    together.setup()

    for epoch in (0, 1):
        ours, theirs = batches(alone, epoch), batches(together, epoch)
        assert [len(y) for _, y in ours] == [16, 16, 11]
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])
    assert not torch.equal(batches(alone, 0)[0][0], batches(alone, 1)[0][0])


class WhereItWasRead(ImageFolderDataset):
    """Answers with the process and the worker that read a sample."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        worker = get_worker_info()
        assert worker is not None
        return torch.tensor(os.getpid()), torch.tensor(worker.id)


def test_samples_are_read_by_two_other_processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipebench.datamodules.image_folder.ImageFolderDataset", WhereItWasRead)
    data = ImageFolder(folder, batch_size=5, workers=2, prefetch=3)
    data.setup()
    loader = data.train_dataloader()

    read = list(loader)

    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (2, 3, True)
    assert {w for _, workers in read for w in workers.tolist()} == {0, 1}
    processes = {pid for pids, _ in read for pid in pids.tolist()}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_splits_are_disjoint_complete_and_named_by_the_seed(folder: Path) -> None:
    data, again, other = (ImageFolder(folder, workers=0, seed=seed) for seed in (0, 0, 1))
    for module in (data, again, other):
        module.setup()
    names = ("train", "validation", "test")
    indices = [list(data.split(name).indices) for name in names]

    assert [len(part) for part in indices] == [43, 5, 12]
    assert sorted(index for part in indices for index in part) == list(range(60))
    assert indices == [list(again.split(name).indices) for name in names]
    assert indices[2] != list(other.split("test").indices)
    train = data.split("train")
    data.setup()
    assert data.split("train") is train


def test_the_short_last_batch_can_be_dropped(folder: Path) -> None:
    data = ImageFolder(folder, batch_size=16, workers=0, drop_last=True)
    data.setup()

    assert [len(y) for _, y in data.train_dataloader()] == [16, 16]
    assert [len(y) for _, y in data.test_dataloader()] == [12]
    assert isinstance(data.train_dataloader(), DataLoader)
    assert (data.task, data.classes) == ("classification", ["digit 0", "digit 1", "digit 2"])


class Classifier(LightningModule):
    """Softmax regression that remembers the labels of every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 3)
        self.seen: dict[int, list[int]] = {}

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, targets = batch
        self.seen.setdefault(self.current_epoch, []).extend(targets.tolist())
        return nn.functional.cross_entropy(self.layer(images.flatten(1)), targets)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._accuracy(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._accuracy(batch)

    def _accuracy(self, batch: tuple[Tensor, Tensor]) -> None:
        images, targets = batch
        right = self.layer(images.flatten(1)).argmax(1) == targets
        self.log("accuracy", right.float().mean(), batch_size=len(targets))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


def shown(data: ImageFolder, epoch: int) -> list[int]:
    return [label for _, labels in batches(data, epoch) for label in labels.tolist()]


def test_lightning_learns_from_a_folder_with_two_workers_and_resumes(folder: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = ImageFolder(folder, batch_size=8, workers=2)
    module, trainer = Classifier(), Trainer(max_epochs=12, **LEAN)
    trainer.fit(module, datamodule=data)
    (metrics,) = trainer.test(module, datamodule=data, verbose=False)
    trainer.save_checkpoint(tmp_path / "twelve.ckpt")
    resumed = Classifier()
    Trainer(max_epochs=14, **LEAN).fit(
        resumed,
        datamodule=ImageFolder(folder, batch_size=8, workers=2),
        ckpt_path=tmp_path / "twelve.ckpt",
    )

    assert metrics["accuracy"] > 0.9
    plain = ImageFolder(folder, batch_size=8, workers=0)
    plain.setup()
    assert module.seen == {epoch: shown(plain, epoch) for epoch in range(12)}
    assert resumed.seen == {epoch: shown(plain, epoch) for epoch in (12, 13)}


def test_a_comment_in_a_header_is_skipped(tmp_path: Path) -> None:
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    write_pgm(tmp_path / "a.pgm", image, comment=b"# by hand, 9 9\n")

    assert (read_image(tmp_path / "a.pgm") == image).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pgm", b"", r"expected a PGM header \(P5, width, height, 255\), got b''"),
        ("a.pgm", b"P2\n1 1\n255\n7", "expected a PGM header"),
        ("a.pgm", b"P5\n2 2\n65535\n" + bytes(8), "expected a PGM header"),
        ("a.pgm", b"P5\n2 x\n255\n" + bytes(4), "expected a PGM header"),
        ("a.pgm", b"P5\n# no end", "expected a PGM header"),
        ("a.pgm", b"P5\n2 2\n255\n123", "expected 4 bytes for 2 x 2 pixels, got 3"),
        ("a.npy", b"nonsense", "expected an image in NumPy's format"),
        ("a.npy", b"", "expected an image in NumPy's format"),
    ],
)
def test_damaged_images_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(RequestError, match=message):
        read_image(path)


def test_an_array_that_is_no_image_and_a_missing_file_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))

    with pytest.raises(RequestError, match=r"expected uint8 of shape \(.*\), got float64 \(2, 2\)"):
        read_image(tmp_path / "a.npy")
    for name in ("b.npy", "b.pgm"):
        with pytest.raises(RequestError, match="No such file"):
            read_image(tmp_path / name)


def test_folders_that_are_laid_out_otherwise_are_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"expected a folder with one directory a class, got .*absent"):
        ImageFolderDataset(tmp_path / "absent")
    with pytest.raises(RequestError, match=r"expected one directory a class in .*, found none"):
        ImageFolderDataset(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"expected images \(.npy, .pgm\) in .*empty, found none"):
        ImageFolder(tmp_path, workers=0).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1"),
        ({"workers": -1}, "workers: expected a whole number of at least 0"),
        ({"prefetch": 0}, "prefetch: expected a whole number of at least 1"),
        ({"validation": 1.5}, "image folder: validation: expected a count of at least 1 or a fraction"),
        ({"seed": None}, "seed: expected a whole number of at least 0"),
    ],
)
def test_bad_options_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        ImageFolder(tmp_path, **options)


def test_batches_ask_for_setup(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"image folder: call setup\(\) before val"):
        ImageFolder(tmp_path).val_dataloader()
