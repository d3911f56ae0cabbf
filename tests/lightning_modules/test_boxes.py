"""Boxes against numbers worked by hand, counted pixels and a second way to suppress."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from recipebench.lightning_modules.boxes import LARGEST_GROWTH, areas, clip, decode, encode, iou, nms


def random_boxes(n: int, seed: int, size: int = 40) -> Tensor:
    """Boxes with whole-number corners below `size`, float64."""
    draw = np.random.default_rng(seed)
    corner = draw.integers(0, size // 2, (n, 2))
    return torch.from_numpy(
        np.concatenate([corner, corner + draw.integers(1, size // 2, (n, 2))], 1)
    ).double()


def mask(box: list[float], size: int = 40) -> np.ndarray:
    x1, y1, x2, y2 = (int(v) for v in box)
    pixels = np.zeros((size, size), dtype=bool)
    pixels[y1:y2, x1:x2] = True
    return pixels


def test_iou_by_hand() -> None:
    a = torch.tensor([[0.0, 0.0, 4.0, 2.0]])
    b = torch.tensor(
        [
            [0.0, 0.0, 4.0, 2.0],  # the same
            [2.0, 0.0, 6.0, 2.0],  # half of each: 4 / 12
            [4.0, 0.0, 8.0, 2.0],  # a shared edge
            [1.0, 0.5, 3.0, 1.5],  # inside: 2 / 8
            [5.0, 5.0, 6.0, 6.0],  # apart in both directions
        ]
    )

    assert iou(a, b).tolist() == [pytest.approx([1, 1 / 3, 0, 0.25, 0])]


def test_iou_is_what_counting_pixels_gives() -> None:
    a, b = random_boxes(30, 0), random_boxes(20, 1)
    expected = [
        [(mask(x) & mask(y)).sum() / (mask(x) | mask(y)).sum() for y in b.tolist()] for x in a.tolist()
    ]

    assert iou(a, b).numpy() == pytest.approx(np.array(expected), abs=1e-12)
    assert areas(a).tolist() == [mask(x).sum() for x in a.tolist()]


def test_offsets_by_hand() -> None:
    proposal = torch.tensor([[10.0, 20.0, 30.0, 60.0]])  # center (20, 40), sides 20 and 40
    truth = torch.tensor([[20.0, 20.0, 30.0, 100.0]])  # center (25, 60), sides 10 and 80

    offsets = encode(proposal, truth)

    assert offsets[0].tolist() == pytest.approx([5 / 20, 20 / 40, math.log(1 / 2), math.log(2)])
    assert decode(proposal, offsets)[0].tolist() == pytest.approx(truth[0].tolist())


def test_decode_undoes_encode() -> None:
    proposals, truth = random_boxes(50, 2), random_boxes(50, 3)
    near = (truth[:, 2:] - truth[:, :2]) / (proposals[:, 2:] - proposals[:, :2]) <= LARGEST_GROWTH
    rows = near.all(1)

    restored = decode(proposals, encode(proposals, truth))

    assert rows.sum() > 20
    assert torch.allclose(restored[rows], truth[rows], atol=1e-12)


def test_wild_offsets_stay_finite() -> None:
    box = decode(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 1e4, -1e4]]))

    assert box.tolist() == [[1 - LARGEST_GROWTH, 1, 1 + LARGEST_GROWTH, 1]]


def test_clip_moves_corners_into_the_image() -> None:
    boxes = torch.tensor([[-3.0, -2.0, 50.0, 5.0], [1.0, 1.0, 2.0, 90.0]])

    assert clip(boxes, height=20, width=30).tolist() == [[0, 0, 30, 5], [1, 1, 2, 20]]


def test_suppression_by_hand() -> None:
    """B overlaps A and is dropped; C overlaps B only, and a dropped box suppresses nothing."""
    boxes = torch.tensor(
        [
            [8.0, 0.0, 18.0, 10.0],  # C: 4/16 with B, 0 with A
            [0.0, 0.0, 10.0, 10.0],  # A: the best
            [2.0, 0.0, 12.0, 10.0],  # B: 8/12 with A
            [40.0, 0.0, 50.0, 10.0],  # D: far away
        ]
    )
    scores = torch.tensor([0.6, 0.9, 0.8, 0.1])

    assert nms(boxes, scores, threshold=0.24).tolist() == [1, 0, 3]
    assert nms(boxes, scores, threshold=0.7).tolist() == [1, 2, 0, 3]
    assert nms(boxes, scores, threshold=0.05).tolist() == [1, 3]


def test_suppression_needs_more_than_the_threshold_and_the_first_of_equals_wins() -> None:
    boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 0.0, 2.0, 1.0], [0.0, 0.0, 2.0, 1.0]])
    scores = torch.tensor([0.5, 0.4, 0.5])

    assert nms(boxes, scores, threshold=0.5).tolist() == [0, 1]
    assert nms(boxes, scores, threshold=0.49).tolist() == [0]
    assert nms(boxes[:0], scores[:0], threshold=0.5).tolist() == []


def crossed_out(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Suppression the other way round: take the best that is left, cross out what it overlaps."""
    left = set(range(len(boxes)))
    kept = []
    while left:
        best = max(left, key=lambda i: float(scores[i]))
        kept.append(best)
        shared = iou(boxes[best : best + 1], boxes)[0]
        left = {i for i in left if i != best and shared[i] <= threshold}
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.3, 0.5, 0.9])
def test_suppression_agrees_with_crossing_out(threshold: float) -> None:
    for seed in range(10):
        boxes = random_boxes(40, seed)
        scores = torch.from_numpy(np.random.default_rng(seed).permutation(40) / 40)

        assert nms(boxes, scores, threshold).tolist() == crossed_out(boxes, scores, threshold)
