"""From the frame of cells to paired arrays: two levels of one factor, all else equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from recipebench.errors import RequestError, unknown
from recipebench.reports.frames import factors
from recipebench.reports.statistics.inference import Blocks, Floats, Mask, block_differences
from recipebench.reports.statistics.scales import transform


class Pairs(NamedTuple):
    """Scores of two levels, paired over data set, seed and all other factors.

    Args:
        first: (data sets, seeds, others), NaN for gaps and where there is no pair.
        second: likewise.
        first_diverged: bool, of the same shape.
        second_diverged: likewise.
        planned: bool: both cells belong to the suite.
        data: labels of the first axis.
        seeds: of the second.
        unpaired: cells of either level whose counterpart is not in the suite; they are left out.
    """

    first: Floats
    second: Floats
    first_diverged: Mask
    second_diverged: Mask
    planned: Mask
    data: tuple[str, ...]
    seeds: tuple[int, ...]
    unpaired: int

    def blocks(self, scales: Mapping[str, str], items: Mapping[str, float] | None = None) -> Blocks:
        """Return the block differences, each data set on its scale.

        Args:
            scales: data set label -> name of its scale (`scales.SCALES`); larger is better on each.
            items: data set label -> number of test items; without, accuracies of 0 or 1 are refused.
        """
        sizes = items or {}
        one, two = (
            np.stack(
                [
                    transform(x, scales[d], items=sizes.get(d, np.inf))
                    for d, x in zip(self.data, xs, strict=True)
                ]
            )
            for xs in (self.first, self.second)
        )
        return block_differences(
            one,
            two,
            first_diverged=self.first_diverged,
            second_diverged=self.second_diverged,
            planned=self.planned,
        )


def pairs(cells: pd.DataFrame, factor: str, first: str, second: str) -> Pairs:
    """Pair the cells of two levels of a factor.

    Args:
        cells: as `frames.cells` returns them, planned cells that are missing among them.
        factor: whose levels are compared.
        first: label of a level.
        second: label of the other.

    Raises:
        RequestError: the factor or a level is not known, no cell has a counterpart, or two cells stand
            for one block and recipe.
    """
    names = factors(cells)
    if factor not in names:
        raise RequestError(unknown("factor", factor, names))
    for level in (first, second):
        if level not in cells[factor].cat.categories:
            raise RequestError(unknown(f"level of {factor}", level, cells[factor].cat.categories))
    key = ["data", "seed", *(name for name in names if name != factor)]
    one, two = (_level(cells, factor, level, key) for level in (first, second))
    if not (one.index.is_unique and two.index.is_unique):
        raise RequestError(f"{factor}: expected one cell a recipe, data set and seed, got several.")
    both = one.add_suffix("_first").join(two.add_suffix("_second"), how="inner")
    if both.empty:
        raise RequestError(
            f"{factor}: expected cells of {first!r} and {second!r} that differ in nothing else."
        )
    order = [str(label) for label in cells["data"].cat.categories]
    return _arrays(both, order, len(one) + len(two) - 2 * len(both))


def _level(cells: pd.DataFrame, factor: str, level: str, key: list[str]) -> pd.DataFrame:
    here = cells[cells[factor] == level]
    frame = here[["score"]].assign(diverged=here["status"] == "diverged")
    frame.index = pd.MultiIndex.from_frame(here[key].astype({k: str for k in key if k != "seed"}), names=key)
    return frame


def _arrays(both: pd.DataFrame, order: list[str], unpaired: int) -> Pairs:
    keys = both.index.to_frame(index=False)
    data = [label for label in order if label in set(keys["data"])]
    seeds = sorted(set(keys["seed"]))
    others = pd.MultiIndex.from_frame(keys.iloc[:, 2:]) if keys.shape[1] > 2 else None
    place = np.zeros(len(keys), dtype=int) if others is None else others.factorize()[0]
    shape = (len(data), len(seeds), int(place.max()) + 1)
    at = (
        pd.Index(data).get_indexer(pd.Index(keys["data"])),
        pd.Index(seeds).get_indexer(pd.Index(keys["seed"])),
        place,
    )
    filled = {}
    for column in ("score_first", "score_second"):
        filled[column] = np.full(shape, np.nan)
        filled[column][at] = both[column].to_numpy(dtype=float)
    marked = {}
    for column in ("diverged_first", "diverged_second"):
        marked[column] = np.zeros(shape, dtype=bool)
        marked[column][at] = both[column].to_numpy(dtype=bool)
    there = np.zeros(shape, dtype=bool)
    there[at] = True
    return Pairs(
        filled["score_first"],
        filled["score_second"],
        marked["diverged_first"],
        marked["diverged_second"],
        there,
        tuple(data),
        tuple(int(seed) for seed in seeds),
        unpaired,
    )
