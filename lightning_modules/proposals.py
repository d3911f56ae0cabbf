"""Region proposals: boxes that may hold an object, from the image alone.

Selective search in the small. Regions are the connected bright components at several levels; of each
level they are merged two by two, and large ones are also taken apart. Departures from the source: the
first regions come from thresholds, not from a segmentation by color, and any two regions may merge, not
only neighbors.

References:
    Uijlings, van de Sande, Gevers and Smeulders, Selective Search for Object Recognition, IJCV 2013,
    which Girshick et al., CVPR 2014, use with some 2,000 proposals an image.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage  # type: ignore[import-untyped]

Boxes = npt.NDArray[np.int64]

LEVELS = (0.35, 0.5, 0.65)
"""Where an image is cut into bright and dark: shares of the way from its darkest to its brightest pixel."""

SPECK = 4
"""Pixels that the longer side of a region must have to be looked at."""

SMALLEST = 6
"""Pixels that the longer side of a proposal must have; the shorter one has at least 2."""

WHOLE = 16
"""Longer side in pixels from which a region may be several objects that touch."""

CORNER = 0.6
"""Side of the parts of a large region, as a share of its own: one part in each corner."""


def propose(image: npt.NDArray[np.float32]) -> Boxes:
    """Return boxes that may hold an object, sorted and without repetition.

    The levels are relative, so brightness and contrast of the image do not matter. Where nothing is
    found, the whole image is the one proposal.

    Args:
        image: (height, width), bright objects on a dark ground, any scale.

    Returns:
        int64 (proposals, 4): x1, y1, x2, y2 in pixels, at least one.

    Example:
        >>> image = np.zeros((20, 20), dtype=np.float32)
        >>> image[3:12, 5:9] = 1
        >>> propose(image)
        array([[ 5,  3,  9, 12]])
    """
    found = [np.empty((0, 4), dtype=np.int64)]
    for level in LEVELS:
        parts = components(image, level)
        found += [parts, mergers(parts, limit=max(image.shape) // 2), corners(parts)]
    boxes = np.unique(np.concatenate(found), axis=0)
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[(sides.max(1) >= SMALLEST) & (sides.min(1) >= 2)]
    height, width = image.shape
    return boxes if len(boxes) else np.array([[0, 0, width, height]])


def components(image: npt.NDArray[np.float32], level: float) -> Boxes:
    """Return the boxes around the 8-connected components of pixels above a level, specks left out.

    Args:
        image: (height, width).
        level: share of the way from the darkest to the brightest pixel.

    Returns:
        int64 (components, 4).
    """
    low, high = float(image.min()), float(image.max())
    bright = image > low + level * (high - low)
    labels, _ = ndimage.label(bright, structure=np.ones((3, 3), dtype=np.int64))
    slices = ndimage.find_objects(labels)
    boxes = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in slices]
    array: Boxes = np.array(boxes, dtype=np.int64).reshape(-1, 4)
    solid: Boxes = array[(array[:, 2:] - array[:, :2]).max(1, initial=0) >= SPECK]
    return solid


def mergers(boxes: Boxes, limit: int) -> Boxes:
    """Merge the two most similar regions again and again, and return the box of each merger.

    Similar are two regions whose common box B is small: the source's similarities of size and of fill,
    1 - (|r| + |s|) / |I| and 1 - (|B| - |r| - |s|) / |I|, add up to 2 - |B| / |I|.

    Args:
        boxes: (regions, 4).
        limit: largest side of a merger in pixels.

    Returns:
        int64 (mergers, 4), in the order in which they were made.

    Example:
        >>> mergers(np.array([[0, 0, 2, 2], [20, 0, 22, 2], [3, 0, 5, 2]]), limit=10)
        array([[0, 0, 5, 2]])
    """
    made = []
    while len(boxes) > 1:
        first, second = np.triu_indices(len(boxes), k=1)
        upper_left = np.minimum(boxes[first, :2], boxes[second, :2])
        lower_right = np.maximum(boxes[first, 2:], boxes[second, 2:])
        sides = lower_right - upper_left
        area = np.where(sides.max(1) <= limit, sides.prod(1), np.iinfo(np.int64).max)
        best = int(area.argmin())
        if sides[best].max() > limit:
            break
        merged = np.concatenate([upper_left[best], lower_right[best]])[None]
        boxes = np.concatenate([np.delete(boxes, [first[best], second[best]], axis=0), merged])
        made.append(merged)
    return np.concatenate(made) if made else np.empty((0, 4), dtype=np.int64)


def corners(boxes: Boxes) -> Boxes:
    """Return four parts of each large region, one in each corner, `CORNER` of its sides long.

    Args:
        boxes: (regions, 4).

    Returns:
        int64 (4 * large regions, 4).

    Example:
        >>> corners(np.array([[0, 0, 20, 10]])).tolist()
        [[0, 0, 12, 6], [8, 0, 20, 6], [0, 4, 12, 10], [8, 4, 20, 10]]
    """
    large = boxes[(boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) >= WHOLE]
    x1, y1, x2, y2 = large.T
    width, height = (np.rint((end - start) * CORNER).astype(np.int64) for start, end in ((x1, x2), (y1, y2)))
    left, right = (x1, x1 + width), (x2 - width, x2)
    upper, lower = (y1, y1 + height), (y2 - height, y2)
    pairs = [(left, upper), (right, upper), (left, lower), (right, lower)]
    return np.concatenate([np.stack([x[0], y[0], x[1], y[1]], axis=1) for x, y in pairs])
