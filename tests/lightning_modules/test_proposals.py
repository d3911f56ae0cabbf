"""Region proposals: hand-drawn images, what brightness must not change, and how many digits they find."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recipebench.datamodules import DigitScenes
from recipebench.lightning_modules.boxes import iou
from recipebench.lightning_modules.proposals import components, corners, mergers, propose


def drawn(*boxes: tuple[int, int, int, int], size: int = 40, value: float = 1.0) -> np.ndarray:
    image = np.zeros((size, size), dtype=np.float32)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = value
    return image


def test_components_by_hand() -> None:
    image = drawn((2, 3, 8, 6), (20, 20, 25, 24))
    image[0, 39] = 1  # a speck
    image[24:28, 25] = 0.5  # touches the second by a corner, less bright

    assert components(image, 0.6).tolist() == [[2, 3, 8, 6], [20, 20, 25, 24]]
    assert components(image, 0.4).tolist() == [[2, 3, 8, 6], [20, 20, 26, 28]]


def test_mergers_by_hand() -> None:
    """The smallest common box first: 5 x 2, then 12 x 2, then 12 x 20, which is too large."""
    regions = np.array([[0, 0, 2, 2], [0, 18, 2, 20], [10, 0, 12, 2], [3, 0, 5, 2]])

    assert mergers(regions, limit=12).tolist() == [[0, 0, 5, 2], [0, 0, 12, 2]]
    assert mergers(regions, limit=20).tolist() == [[0, 0, 5, 2], [0, 0, 12, 2], [0, 0, 12, 20]]
    assert mergers(regions, limit=4).tolist() == []
    assert mergers(regions[:1], limit=20).tolist() == []


def test_small_regions_are_not_taken_apart() -> None:
    assert corners(np.array([[0, 0, 15, 15]])).tolist() == []
    assert len(corners(np.array([[0, 0, 15, 16], [0, 0, 9, 9]]))) == 4


def test_proposals_of_a_simple_image() -> None:
    """Two bars, the box around both, and the corners of the long bar; those 1 pixel wide are left out."""
    found = propose(drawn((2, 2, 7, 22), (10, 2, 13, 12), (30, 30, 35, 35), (0, 39, 9, 40)))

    assert found.tolist() == [
        [2, 2, 5, 14],
        [2, 2, 7, 22],
        [2, 2, 13, 22],
        [2, 10, 5, 22],
        [4, 2, 7, 14],
        [4, 10, 7, 22],
        [10, 2, 13, 12],
    ]


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_an_even_image_is_one_proposal(value: float) -> None:
    image = np.full((12, 30), value, dtype=np.float32)

    assert propose(image).tolist() == [[0, 0, 30, 12]]


def test_brightness_and_contrast_do_not_matter() -> None:
    data = DigitScenes(n=20)
    data.setup()
    for image in data.train.inputs[:, 0].float().numpy():
        assert np.array_equal(propose(image), propose(4 * image - 32))


@pytest.mark.parametrize("max_objects", [4, 7])
def test_proposals_find_the_digits(max_objects: int) -> None:
    """At least 97 % of the digits are overlapped by 0.5 or more, with a few dozen boxes an image."""
    data = DigitScenes(n=10, max_objects=max_objects)
    data.setup()
    best, count = [], 0
    for image, targets in zip(data.test.inputs, data.test.targets, strict=True):
        boxes = torch.from_numpy(propose(image[0].float().numpy())).float()
        best += iou(targets[targets[:, 4] >= 0][:, :4], boxes).max(1).values.tolist()
        count += len(boxes)
        assert (boxes >= 0).all()
        assert (boxes <= 64).all()
        assert len(boxes.unique(dim=0)) == len(boxes)

    assert np.mean(np.array(best) >= 0.5) > 0.97
    assert count / 200 < 80
