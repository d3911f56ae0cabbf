"""Average precision against numbers worked by hand, PASCAL VOC's procedure in numpy, and scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score  # type: ignore[import-untyped]
from torch import Tensor
from torchmetrics.classification import BinaryAveragePrecision

from recipebench.lightning_modules import MeanAveragePrecision
from recipebench.lightning_modules.detection_scores import average_precision, match

SQUARE = [0.0, 0.0, 10.0, 10.0]


def bools(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.bool)


def falling(n: int) -> Tensor:
    return torch.linspace(0.95, 0.05, n, dtype=torch.float64)


def voc(scores: np.ndarray, right: np.ndarray, objects: int) -> float:
    """The area as the VOC 2010 development kit computes it: sentinels, envelope, sum over steps."""
    right = right[np.argsort(-scores, kind="stable")]
    true, false = np.cumsum(right), np.cumsum(~right)
    recall = np.concatenate([[0.0], true / objects, [1.0]])
    precision = np.concatenate([[0.0], true / (true + false), [0.0]])
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(((recall[steps + 1] - recall[steps]) * precision[steps + 1]).sum())


@pytest.mark.parametrize(
    ("right", "objects", "expected"),
    [
        ([1, 1, 1], 3, 1.0),
        ([1, 1, 1], 4, 0.75),  # an object that nobody found
        ([0, 0], 2, 0.0),
        ([0, 1], 1, 1 / 2),
        ([1, 0, 1], 2, 1 / 2 * 1 + 1 / 2 * 2 / 3),
        ([0, 1, 1], 2, 2 / 3),  # precisions 1/2 and 2/3: the envelope is 2/3 all along
        ([1, 0, 0, 1, 1], 5, 1 / 5 + 2 / 5 * 3 / 5),
    ],
)
def test_average_precision_by_hand(right: list[int], objects: int, expected: float) -> None:
    assert average_precision(falling(len(right)), bools(*right), objects) == pytest.approx(expected, abs=1e-6)


def test_average_precision_without_detections_is_0() -> None:
    assert average_precision(torch.empty(0), bools(), 3) == 0


def test_average_precision_is_that_of_the_development_kit() -> None:
    draw = np.random.default_rng(0)
    for n in (1, 2, 5, 30, 200):
        for _ in range(10):
            scores = draw.permutation(n) / n
            right = draw.random(n) < 0.5
            objects = int(right.sum()) + int(draw.integers(1, 10))

            ours = average_precision(torch.from_numpy(scores), torch.from_numpy(right), objects)

            assert ours == pytest.approx(voc(scores, right, objects), abs=1e-6)


def test_recall_is_scaled_as_the_docstring_says() -> None:
    """Where precision only falls, the envelope changes nothing: AP = binary AP x found / objects."""
    right, objects = bools(1, 1, 1, 0, 1, 0, 0, 0), 7
    scores = falling(8)

    ours = average_precision(scores, right, objects)

    binary = float(BinaryAveragePrecision()(scores, right.long()))
    assert ours == pytest.approx(binary * 4 / 7, abs=1e-6)
    assert ours == pytest.approx(average_precision_score(right, scores) * 4 / 7, abs=1e-6)


def test_without_an_envelope_the_area_would_be_smaller() -> None:
    right = bools(0, 1, 0, 1, 1)

    plain = average_precision_score(right, falling(5)) * 3 / 4

    assert average_precision(falling(5), right, 4) == pytest.approx(3 / 4 * 3 / 5, abs=1e-6)
    assert plain < 3 / 4 * 3 / 5


def test_the_order_of_equal_scores_does_not_matter() -> None:
    scores = torch.tensor([0.9, 0.5, 0.5, 0.5])

    values = {average_precision(scores, bools(1, *rest), 3) for rest in [(1, 0, 0), (0, 1, 0), (0, 0, 1)]}

    assert len(values) == 1
    assert values.pop() == pytest.approx(1 / 3 + 1 / 3 * 2 / 4, abs=1e-6)


@pytest.mark.parametrize(
    ("boxes", "scores", "expected"),
    [
        ([SQUARE, SQUARE], [0.9, 0.8], [True, False]),  # the second is a repetition
        ([SQUARE, SQUARE], [0.8, 0.9], [False, True]),
        ([[0, 0, 10, 5]], [0.9], [True]),  # just 0.5
        ([[0, 0, 10, 4.9]], [0.9], [False]),
        ([[40, 40, 50, 50]], [0.9], [False]),
        # Nearest to the first object, which is claimed: wrong, though the second would be good enough.
        ([SQUARE, [1.5, 0, 11.5, 10]], [0.9, 0.8], [True, False]),
        ([SQUARE, [2.5, 0, 12.5, 10]], [0.9, 0.8], [True, True]),
    ],
)
def test_matches_by_hand(boxes: list[list[float]], scores: list[float], expected: list[bool]) -> None:
    truth = torch.tensor([SQUARE, [4.0, 0.0, 14.0, 10.0]])

    assert match(torch.tensor(boxes), torch.tensor(scores), truth).tolist() == expected


def test_without_objects_nothing_is_right() -> None:
    assert match(torch.tensor([SQUARE]), torch.tensor([0.9]), torch.empty(0, 4)).tolist() == [False]


def found(*detections: tuple[list[float], int, float]) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor([box for box, _, _ in detections]).view(-1, 4),
        "labels": torch.tensor([label for _, label, _ in detections], dtype=torch.int64),
        "scores": torch.tensor([score for _, _, score in detections]),
    }


def true(*objects: tuple[list[float], int]) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor([box for box, _ in objects]).view(-1, 4),
        "labels": torch.tensor([label for _, label in objects], dtype=torch.int64),
    }


FAR = [50.0, 50.0, 60.0, 60.0]


def test_the_mean_by_hand() -> None:
    """Class 1: right, wrong, one of two objects missed. Class 2: nobody looked. Class 3: no object at all."""
    metric = MeanAveragePrecision()
    metric.update(
        [found((SQUARE, 1, 0.9), (SQUARE, 3, 0.8)), found((FAR, 1, 0.7))],
        [true((SQUARE, 1), (FAR, 2)), true((SQUARE, 1))],
    )

    assert metric.by_class() == {1: pytest.approx(0.5), 2: 0.0}
    assert float(metric.compute()) == pytest.approx(0.25)


def test_a_right_place_with_the_wrong_label_is_wrong() -> None:
    metric = MeanAveragePrecision()
    metric.update([found((SQUARE, 4, 0.9))], [true((SQUARE, 5))])

    assert metric.by_class() == {5: 0.0}


def test_an_object_is_found_in_its_own_image_only() -> None:
    metric = MeanAveragePrecision()
    metric.update([found((FAR, 0, 0.9)), found((SQUARE, 0, 0.8))], [true((SQUARE, 0)), true((FAR, 0))])

    assert float(metric.compute()) == 0


def test_images_without_anything_count_for_nothing() -> None:
    metric = MeanAveragePrecision()
    metric.update([found()], [true()])
    assert math.isnan(float(metric.compute()))

    metric.update([found((SQUARE, 2, 0.9))], [true((SQUARE, 2))])
    assert float(metric.compute()) == 1


def scattered(draw: np.random.Generator, n: int) -> dict[str, Any]:
    corner = draw.integers(0, 20, (n, 2))
    boxes = np.concatenate([corner, corner + draw.integers(4, 20, (n, 2))], 1)
    return {
        "boxes": torch.from_numpy(boxes).float(),
        "labels": torch.from_numpy(draw.integers(0, 3, n)),
        "scores": torch.from_numpy(draw.permutation(10_000)[:n] / 10_000),
    }


def guessed(draw: np.random.Generator, objects: dict[str, Any]) -> dict[str, Any]:
    """Ten boxes at random, and two near each object."""
    guesses = scattered(draw, 10 + 2 * len(objects["labels"]))
    near = objects["boxes"].repeat(2, 1)
    guesses["boxes"][10:] = near + torch.from_numpy(draw.integers(-2, 3, near.shape))
    guesses["labels"][10:] = objects["labels"].repeat(2)
    return guesses


def overlap(a: list[float], b: list[float]) -> float:
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def voc_class(detections: list[dict[str, Any]], truth: list[dict[str, Any]], label: int) -> float:
    """VOC's evaluation of one class: all detections of all images in one sorted list."""
    objects = [t["boxes"][t["labels"] == label].tolist() for t in truth]
    taken = [[False] * len(boxes) for boxes in objects]
    rows = [
        (float(s), image, box.tolist())
        for image, d in enumerate(detections)
        for s, box in zip(d["scores"][d["labels"] == label], d["boxes"][d["labels"] == label], strict=True)
    ]
    rows.sort(key=lambda row: -row[0])
    right = np.zeros(len(rows), dtype=bool)
    for k, (_, image, box) in enumerate(rows):
        shares = [overlap(box, other) for other in objects[image]]
        best = int(np.argmax(shares)) if shares else -1
        if best >= 0 and shares[best] >= 0.5 and not taken[image][best]:
            taken[image][best] = right[k] = True
    return voc(np.array([row[0] for row in rows]), right, sum(map(len, objects)))


def test_random_scenes_score_as_in_the_development_kit_whatever_the_batches() -> None:
    draw = np.random.default_rng(1)
    truth = [scattered(draw, int(draw.integers(1, 5))) for _ in range(30)]
    guesses = [guessed(draw, objects) for objects in truth]
    expected = {label: voc_class(guesses, truth, label) for label in range(3)}
    whole, parts = MeanAveragePrecision(), MeanAveragePrecision()

    whole.update(guesses, truth)
    for place in (0, 7, 8):
        stop = {0: 7, 7: 8, 8: 30}[place]
        parts.update(guesses[place:stop], truth[place:stop])

    assert min(expected.values()) > 0.1
    assert whole.by_class() == pytest.approx(expected, abs=1e-6)
    assert torch.equal(whole.compute(), parts.compute())
    assert float(whole.compute()) == pytest.approx(np.mean(list(expected.values())), abs=1e-6)
