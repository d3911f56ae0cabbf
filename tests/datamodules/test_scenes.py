"""Digit scenes: what is on them, where, and that every machine draws the same bits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from recipebench.datamodules import DigitScenes, create, fetch
from recipebench.datamodules.catalog import DATA, FACTS, File, data_sha256, split_sizes
from recipebench.datamodules.scenes import INK, OVERLAP, resize
from recipebench.errors import RequestError

TRAIN_SHA256 = "64fba7e378e1189458f1d72f45e6944382cb97ea9c6984420006effc24a45c9f"
TRAIN_BOXES_SHA256 = "c9d16bdc2af30031030c2dad5bdb20bcd47123c779327630c672843babea18f9"
TEST_SHA256 = "dc2dfe9b9197b57f39613610f93e077abbe359e80bed9ddbe6a9ae873a83b259"


def made(**options: Any) -> DigitScenes:
    data = DigitScenes(**options)
    data.setup()
    return data


@pytest.fixture(scope="module")
def default() -> DigitScenes:
    return made()


def sha256(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def overlaps(boxes: np.ndarray) -> list[float]:
    """Intersection over union of every pair, counted in pixels."""
    masks = []
    for x1, y1, x2, y2 in boxes.astype(int):
        mask = np.zeros((300, 300), dtype=bool)
        mask[y1:y2, x1:x2] = True
        masks.append(mask)
    return [(a & b).sum() / (a | b).sum() for i, a in enumerate(masks) for b in masks[:i]]


def test_the_bits_are_frozen(default: DigitScenes) -> None:
    assert sha256(default.train.inputs) == TRAIN_SHA256
    assert sha256(default.train.targets) == TRAIN_BOXES_SHA256
    assert sha256(default.test.inputs) == TEST_SHA256


def test_the_facts_are_those_of_the_default_scenes(default: DigitScenes) -> None:
    pixels = default.train.inputs.numpy()
    counts = [int(count) for count in np.bincount(pixels.ravel())]
    mean = Fraction(sum(v * c for v, c in enumerate(counts)), pixels.size)
    variance = Fraction(sum(v * v * c for v, c in enumerate(counts)), pixels.size) - mean**2
    facts = FACTS["digit_scenes"]

    assert pixels.shape == (facts.train, *facts.shape)
    assert default.test.inputs.shape == (facts.test, *facts.shape)
    assert (float(mean / 255), math.sqrt(variance) / 255) == (facts.mean, facts.std)
    assert (default.task, default.out_features) == ("detection", 10)


@pytest.mark.parametrize("options", [{}, {"size": 96, "max_objects": 7, "n": 60}, {"size": 33, "n": 60}])
def test_targets_are_boxes_inside_the_canvas_then_padding(options: dict[str, Any]) -> None:
    data = made(**options)
    side = options.get("size", 64)
    counts = set()
    for targets in data.train.targets.numpy()[:200]:
        found = int((targets[:, 4] >= 0).sum())
        boxes = targets[:found, :4]
        counts.add(found)
        assert (targets[found:] == -1).all()
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] <= side).all()
        assert (boxes[:, 2] - boxes[:, 0] >= 2).all()
        assert (boxes[:, 3] - boxes[:, 1] >= 6 * side // 32).all()
        assert ((boxes[:, 2:] - boxes[:, :2]) <= 14 * side // 32).all()
        assert max(overlaps(boxes), default=0) <= OVERLAP

    assert data.train.inputs.shape[1:] == (1, side, side)
    assert data.train.inputs.dtype == torch.uint8
    assert data.train.targets.dtype == torch.float32
    assert counts >= set(range(1, options.get("max_objects", 4)))
    assert data.facts.shape == (1, side, side)


def test_all_classes_occur_about_equally_often(default: DigitScenes) -> None:
    labels = default.train.targets[..., 4]
    counts = labels[labels >= 0].long().bincount()

    assert len(counts) == 10
    assert counts.min() > 0.8 * counts.float().mean()


def test_every_box_holds_ink_and_the_rest_is_noise_and_small_fragments(default: DigitScenes) -> None:
    bright = default.train.inputs[:200, 0].numpy() >= INK
    outside = np.ones_like(bright)
    for image, targets in enumerate(default.train.targets[:200].numpy()):
        for x1, y1, x2, y2, _ in targets[targets[:, 4] >= 0].astype(int):
            box = bright[image, y1:y2, x1:x2]
            assert box.mean() > 0.2
            assert all(edge.any() for edge in (box[0], box[-1], box[:, 0], box[:, -1]))
            outside[image, y1:y2, x1:x2] = False

    assert bright[outside].mean() < 0.03


@pytest.mark.parametrize(("height", "width"), [(8, 8), (28, 21), (5, 3), (1, 1), (17, 40)])
def test_resize_is_torchs_bilinear_interpolation_rounded_down(height: int, width: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 6))
    expected = F.interpolate(
        torch.from_numpy(image).double()[None, None], (height, width), mode="bilinear", align_corners=False
    )

    error = expected[0, 0].numpy() - resize(image, height, width)

    assert error.min() > -1e-9
    assert error.max() < 1


def test_smaller_sets_are_prefixes_and_seeds_only_split() -> None:
    small, large = made(n=20), made(n=30, seed=1)

    assert torch.equal(small.train.inputs, large.train.inputs[:20])
    assert torch.equal(small.train.targets, large.train.targets[:20])
    assert torch.equal(small.test.inputs, large.test.inputs)
    assert not torch.equal(made(n=30).train.indices, large.train.indices)


def test_sizes_are_those_of_the_catalog() -> None:
    data = made(n=50, validation=0.2)
    sizes = split_sizes(data.choice, 0.2)

    assert [len(data.train), len(data.validation), len(data.test)] == [40, 10, 200]
    assert (sizes.train, sizes.validation, sizes.test) == (40, 10, 200)


def test_training_and_test_scenes_hold_different_digits() -> None:
    images = load_digits().images
    train, test = made(n=10)._digits()

    assert len(train.inputs) + len(test.inputs) == len(images) == 1797
    assert np.array_equal(train.inputs[:, 0].numpy(), images[:1438].astype(int) * 255 // 16)
    assert np.array_equal(test.inputs[:, 0].numpy(), images[1438:].astype(int) * 255 // 16)
    assert set(test.targets.tolist()) == set(range(10))


def test_batches_hold_images_and_boxes() -> None:
    data = made(n=20, batch_size=7)
    batches = list(data.train_dataloader())
    order = data.order(1)

    assert [len(inputs) for inputs, _ in batches] == [7, 7, 4]
    assert torch.equal(torch.cat([y for _, y in batches]), data.train.targets[order])
    assert torch.equal(torch.cat([x for x, _ in batches]), data.train.inputs[order].float() / 255)


def test_scenes_of_mnist(real_files: Callable[[str], dict[File, Path]]) -> None:
    real_files("mnist")
    data = made(n=20, source="mnist")
    train, test = data._digits()

    data.prepare_data()

    assert (len(train.inputs), len(test.inputs)) == (60_000, 10_000)
    assert data.train.inputs.shape == (20, 1, 64, 64)
    assert not torch.equal(data.train.inputs, made(n=20).train.inputs)


def test_the_source_decides_which_files_are_needed(tmp_path: Path) -> None:
    plain = DATA.choose("digit_scenes")
    mnist = DATA.choose({"digit_scenes": {"source": "mnist"}})
    data = create(mnist, data_dir=tmp_path)

    assert fetch.locate(plain, tmp_path) == {}
    assert set(fetch.locate(mnist, tmp_path)) == set(FACTS["mnist"].files)
    assert data.data_dir == tmp_path  # type: ignore[attr-defined]
    assert data_sha256(plain) != data_sha256(mnist)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 9}, "n: expected a whole number between 10 and 100000, got 9"),
        ({"size": 31}, "size: expected a whole number between 32 and 256"),
        ({"max_objects": 0}, "max_objects: expected a whole number between 1 and 8"),
        ({"source": "minst"}, "Did you mean 'mnist'"),
        ({"augmentation": "translate"}, "augmentation: expected none, because the boxes would not follow"),
        ({"label_noise": 0.1}, "label_noise: expected 0, because it replaces classes"),
    ],
)
def test_bad_requests_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        DigitScenes(**options)
