"""The regions of R-CNN: proposed, cropped to squares, and compared with the true boxes in the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recipebench.lightning_modules.boxes import encode, iou
from recipebench.lightning_modules.proposals import propose

POSITIVE = 0.5
"""Intersection over union with a true box from which a region counts as that object."""

POSITIVE_SHARE = 0.25
"""Weight of an image's positive regions together: the source's batches hold 32 of them among 128."""

CONTEXT = 0.125
"""Surroundings of a region that are cropped with it, at each side, as a share of its width or height."""

BETA = 1 / 9
"""Error at which smooth L1 turns from a parabola into a line."""


class Look(NamedTuple):
    """What the network says of the regions of one image.

    Args:
        regions: (n, 4) boxes.
        scores: (n, classes + 1) logits, the last of background.
        offsets: (n, classes, 4); see `boxes.encode`.
    """

    regions: Tensor
    scores: Tensor
    offsets: Tensor

    def first(self, n: int) -> Look:
        """Return what it says of the first n regions."""
        return Look(*(part[:n] for part in self))


def proposals(images: Tensor) -> list[Tensor]:
    """Return the proposals of each image, (n, 4) float32; see `propose`."""
    return [torch.from_numpy(propose(image[0].cpu().numpy())).to(images) for image in images]


def objects(rows: Tensor) -> dict[str, Tensor]:
    """Return the `boxes` (n, 4) float32 and `labels` (n,) int64 of one image's target, padding left out.

    Example:
        >>> objects(torch.tensor([[1.0, 2.0, 3.0, 4.0, 7.0], [-1.0, -1.0, -1.0, -1.0, -1.0]]))
        {'boxes': tensor([[1., 2., 3., 4.]]), 'labels': tensor([7])}
    """
    real = rows[rows[:, 4] >= 0]
    return {"boxes": real[:, :4], "labels": real[:, 4].long()}


def with_truth(found: Sequence[Tensor], truth: Sequence[dict[str, Tensor]]) -> list[Tensor]:
    """Return the regions to learn from: for each image its proposals, then its true boxes."""
    return [torch.cat([boxes, true["boxes"]]) for boxes, true in zip(found, truth, strict=True)]


def crop_regions(images: Tensor, regions: Sequence[Tensor], side: int) -> Tensor:
    """Crop regions with `CONTEXT` around them and resize them to squares, whatever their shape.

    Bilinear; pixel centers at halves; what lies outside the image repeats its edge.

    Args:
        images: (batch, 1, height, width) float32.
        regions: for each image its boxes (n, 4) in pixels.
        side: of the crops in pixels.

    Returns:
        (sum of n, 1, side, side), image after image.

    References:
        Girshick et al. 2014, 2.1 and appendix A (warping with context).
    """
    height, width = images.shape[2:]
    return torch.cat(list(_crops(images, regions, side, images.new_tensor([width, height]))))


def _crops(images: Tensor, regions: Sequence[Tensor], side: int, size: Tensor) -> Iterator[Tensor]:
    for image, boxes in zip(images, regions, strict=True):
        sides = boxes[:, 2:] - boxes[:, :2]
        center = (boxes[:, :2] + boxes[:, 2:]) / size - 1  # in [-1, 1], as affine_grid measures
        scale = sides * (1 + 2 * CONTEXT) / size
        theta = torch.cat([torch.diag_embed(scale), center[:, :, None]], dim=2)
        grid = F.affine_grid(theta, [len(boxes), 1, side, side], align_corners=False)
        stack = image.expand(len(boxes), -1, -1, -1)
        yield F.grid_sample(stack, grid, padding_mode="border", align_corners=False)


def image_loss(regions: Tensor, scores: Tensor, offsets: Tensor, truth: dict[str, Tensor]) -> Tensor:
    """Return the loss of one image, a scalar; see `RCNN`.

    Args:
        regions: (n, 4); see `Look`.
        scores: (n, classes + 1).
        offsets: (n, classes, 4).
        truth: the image's `boxes` (m, 4) and `labels` (m,).
    """
    owners, positive = assign(regions, truth["boxes"])
    classes = offsets.shape[1]
    labels = torch.full((len(regions),), classes, device=regions.device)
    labels[positive] = truth["labels"][owners[positive]]
    losses = F.cross_entropy(scores, labels, reduction="none")
    wanted = encode(regions[positive], truth["boxes"][owners[positive]])
    moved = F.smooth_l1_loss(offsets[positive, labels[positive]], wanted, beta=BETA, reduction="none")
    found, background = losses[positive] + moved.sum(1), losses[~positive]
    if len(found) and len(background):
        return POSITIVE_SHARE * found.mean() + (1 - POSITIVE_SHARE) * background.mean()
    return torch.cat([found, background]).mean()


def assign(regions: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each region the true box that it overlaps most, and whether by at least `POSITIVE`.

    Args:
        regions: (n, 4).
        truth: (m, 4), m may be 0.

    Returns:
        int64 (n,) rows of `truth`, 0 where there are none, and bool (n,).
    """
    if not len(truth):
        nothing = torch.zeros(len(regions), dtype=torch.int64, device=regions.device)
        return nothing, nothing.bool()
    best, owners = iou(regions, truth).max(1)
    return owners, best >= POSITIVE
