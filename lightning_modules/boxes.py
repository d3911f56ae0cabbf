"""Arithmetic of boxes: overlap, the offsets that are regressed, and non-maximum suppression.

A box is x1, y1, x2, y2 in pixels from the upper left corner, x1 < x2 and y1 < y2; its area is
(x2 - x1)(y2 - y1), without the "+ 1" of boxes that are counted in whole pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_GROWTH = 4.0
"""Largest factor by which `decode` grows a side, so that wild offsets of an untrained model stay finite."""


def areas(boxes: Tensor) -> Tensor:
    """Return the areas in square pixels: (n, 4) to (n,)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return sides[:, 0] * sides[:, 1]


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the intersection over union of every box of a with every box of b.

    IoU = |A and B| / |A or B|, |A or B| = |A| + |B| - |A and B|.

    Args:
        a: (n, 4) boxes of positive area.
        b: (m, 4) boxes of positive area.

    Returns:
        (n, m) in [0, 1].

    Example:
        >>> iou(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]))
        tensor([[0.3333]])

    References:
        Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010, 4.2 (area of overlap).
    """
    upper_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    lower_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = (lower_right - upper_left).clamp_min(0)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (areas(a)[:, None] + areas(b)[None] - shared)


def encode(proposals: Tensor, truth: Tensor) -> Tensor:
    """Return the offsets from proposals P to the true boxes G, centers x, y and sides w, h.

    t_x = (G_x - P_x) / P_w; t_y = (G_y - P_y) / P_h; t_w = log(G_w / P_w); t_h = log(G_h / P_h).

    Args:
        proposals: (n, 4) boxes.
        truth: (n, 4) boxes.

    Returns:
        (n, 4): t_x, t_y, t_w, t_h.

    Example:
        >>> encode(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[1.0, 0.0, 5.0, 8.0]]))
        tensor([[0.2500, 0.5000, 0.0000, 0.6931]])

    References:
        Girshick et al., Rich Feature Hierarchies for Accurate Object Detection and Semantic
        Segmentation, CVPR 2014, appendix C.
    """
    (center, sides), (true_center, true_sides) = _centers(proposals), _centers(truth)
    return torch.cat([(true_center - center) / sides, (true_sides / sides).log()], dim=1)


def decode(proposals: Tensor, offsets: Tensor) -> Tensor:
    """Return the boxes that offsets d make of proposals P: the inverse of `encode`.

    G_x = P_w d_x + P_x; G_y = P_h d_y + P_y; G_w = P_w exp(d_w); G_h = P_h exp(d_h), where no side
    grows by more than `LARGEST_GROWTH`.

    Args:
        proposals: (n, 4) boxes.
        offsets: (n, 4): d_x, d_y, d_w, d_h.

    Returns:
        (n, 4) boxes.

    Example:
        >>> decode(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.tensor([[0.25, 0.5, 0.0, 0.0]]))
        tensor([[1., 2., 5., 6.]])
    """
    center, sides = _centers(proposals)
    center = center + sides * offsets[:, :2]
    half = sides * offsets[:, 2:].exp().clamp_max(LARGEST_GROWTH) / 2
    return torch.cat([center - half, center + half], dim=1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return the boxes, (n, 4), with every corner moved into the image."""
    limits = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp_min(0), limits)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Keep the best box, drop all that overlap it by more than a threshold, go on with the next best.

    Args:
        boxes: (n, 4) of one class in one image.
        scores: (n,); of equal ones the first counts as better.
        threshold: of the intersection over union, in [0, 1].

    Returns:
        int64 indices of the kept boxes, best first.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 10.0, 9.0], [20.0, 0.0, 29.0, 9.0]])
        >>> nms(boxes, torch.tensor([0.5, 0.9, 0.4]), threshold=0.3)
        tensor([1, 2])

    References:
        Girshick et al. 2014, 2.2 (greedy, for each class independently); the result is that of
        `torchvision.ops.nms`.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    overlaps = (iou(ranked, ranked) > threshold).tolist()
    kept: list[int] = []
    for rank, overlapped in enumerate(overlaps):
        if not any(overlapped[better] for better in kept):
            kept.append(rank)
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]


def _centers(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes[:, :2] + sides / 2, sides
