"""Digits: the 1,797 small handwritten digits that scikit-learn ships, so that no network is needed."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import torch

from recipebench.datamodules.base import Samples, TensorDataModule
from recipebench.datamodules.catalog import FACTS
from recipebench.errors import RequestError


class Digits(TensorDataModule):
    """Handwritten digits: uint8 images (1,797, 1, 8, 8) with values 0 to 16, ten classes.

    There is no official test set: 0.2 of the samples are held out, drawn by `seed`.

    Args:
        **options: see `TensorDataModule`.

    Raises:
        RequestError: an option has the wrong type or value; scikit-learn ships other data.

    References:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """

    name = "digits"
    facts = FACTS["digits"]

    def load(self) -> tuple[Samples, None]:
        """Return the images, uint8 (1797, 1, 8, 8), and their classes, int64 (1797,)."""
        return _digits(), None


@cache
def _digits() -> Samples:
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)
    actual = hashlib.sha256(images.tobytes() + bunch.target.astype(np.uint8).tobytes()).hexdigest()
    expected = FACTS["digits"].content
    if actual != expected:
        raise RequestError(
            f"digits: expected scikit-learn's digits with SHA-256 {expected}, got {actual}. "
            "Install a scikit-learn that ships the original data."
        )
    return Samples(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(bunch.target.astype(np.int64)))
