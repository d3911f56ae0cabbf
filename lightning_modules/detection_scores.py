"""Mean average precision of detected boxes, as PASCAL VOC has it, on the curves of torchmetrics.

`torchmetrics.detection.MeanAveragePrecision` cannot be imported without torchvision, so detections are
matched here; precision and recall are torchmetrics' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_precision_recall_curve

from recipebench.lightning_modules.boxes import iou

Detections = Mapping[str, Tensor]
"""`boxes` (n, 4) float32, `labels` (n,) int64, and for what was detected `scores` (n,) in [0, 1]."""


def match(boxes: Tensor, scores: Tensor, truth: Tensor, threshold: float = 0.5) -> Tensor:
    """Say which detections of one class in one image are right.

    From the best score down, a detection looks at the true box that it overlaps most. It is right when
    their intersection over union reaches the threshold and no better detection has claimed that box;
    a second detection of the same object is wrong.

    Args:
        boxes: (n, 4) detected.
        scores: (n,).
        truth: (m, 4) true boxes.
        threshold: of the intersection over union.

    Returns:
        bool (n,), in the order given.

    Example:
        >>> truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
        >>> twice = torch.tensor([[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 10.0]])
        >>> match(twice, torch.tensor([0.9, 0.8]), truth)
        tensor([ True, False])

    References:
        Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, 4.2.
    """
    right = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    if not len(truth) or not len(boxes):
        return right
    best, nearest = iou(boxes, truth).max(1)
    claimed: set[int] = set()
    for index in scores.argsort(descending=True, stable=True).tolist():
        owner = int(nearest[index])
        if best[index] >= threshold and owner not in claimed:
            claimed.add(owner)
            right[index] = True
    return right


def average_precision(scores: Tensor, right: Tensor, objects: int) -> float:
    """Return the area under the interpolated precision-recall curve of one class.

    With the detections in order of falling score, p(k) and r(k) after the first k,

        AP = sum over k of (r(k) - r(k - 1)) max over j >= k of p(j).

    Torchmetrics sees detections only: of D right ones among G objects its recall is R(k) = TP(k) / D,
    that of the class r(k) = TP(k) / G = R(k) D / G, and precision TP(k) / k is the same for both. So the
    area over r is D / G times the area over R; objects that nobody detected add width where precision
    is 0. (Without the maximum the same argument gives AP = `BinaryAveragePrecision` D / G.)
    Detections of equal scores enter together, so their order does not matter.

    Args:
        scores: (n,) in [0, 1], of the detections of one class in all images.
        right: bool (n,); see `match`.
        objects: true boxes of the class in all images, at least 1.

    Returns:
        In [0, 1]; 0 when nothing is right.

    Example:
        >>> average_precision(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([True, False, True]), objects=4)
        0.41666...

    References:
        Everingham and Winn, The PASCAL VOC 2010 Development Kit, 3.4.1 (the area under all points).
    """
    if not right.any():
        return 0.0
    precision, recall, _ = binary_precision_recall_curve(scores.double(), right.long())
    # Torchmetrics lists thresholds from the lowest up, so recall falls and "j >= k" are the entries before.
    best = precision[:-1].double().cummax(0).values
    steps = -recall.double().diff()
    return float((steps * best).sum() * right.sum() / objects)


class MeanAveragePrecision(Metric):
    """The mean over classes of `average_precision`, over exactly the images seen.

    The interface is that of `torchmetrics.detection.MeanAveragePrecision`; classes of which no object
    was seen do not count.

    Args:
        threshold: intersection over union from which a detection is right.
    """

    full_state_update = False
    higher_is_better = True
    scores: list[Tensor]
    right: list[Tensor]
    labels: list[Tensor]
    objects: list[Tensor]

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        for state in ("scores", "right", "labels", "objects"):
            self.add_state(state, [], dist_reduce_fx="cat")

    def update(self, detections: Sequence[Detections], truth: Sequence[Detections]) -> None:
        """Add images.

        Args:
            detections: for each image `boxes`, `labels` and `scores`.
            truth: for each image `boxes` and `labels`.
        """
        for found, true in zip(detections, truth, strict=True):
            right = torch.zeros_like(found["labels"], dtype=torch.bool)
            for label in found["labels"].unique():
                mine, theirs = found["labels"] == label, true["labels"] == label
                boxes, scores = found["boxes"][mine], found["scores"][mine]
                right[mine] = match(boxes, scores, true["boxes"][theirs], self.threshold)
            self.scores.append(found["scores"])
            self.right.append(right)
            self.labels.append(found["labels"])
            self.objects.append(true["labels"])

    def compute(self) -> Tensor:
        """Return the mean average precision, a float64 scalar; NaN where no object was seen."""
        values = list(self.by_class().values())
        return torch.tensor(values, dtype=torch.float64).mean()

    def by_class(self) -> dict[int, float]:
        """Return the average precision of every class of which an object was seen."""
        scores, right, labels, objects = (
            torch.cat(list(state)) if len(state) else torch.empty(0)
            for state in (self.scores, self.right, self.labels, self.objects)
        )
        classes, counts = objects.unique(return_counts=True)
        return {
            int(label): average_precision(scores[labels == label], right[labels == label], int(count))
            for label, count in zip(classes, counts, strict=True)
        }
