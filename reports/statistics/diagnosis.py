"""Bias or variance: from training and validation errors to what ails a recipe and what is advised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from recipebench.errors import RequestError, unknown

MEASURES = ("accuracy", "mse")
"""The metrics that become errors: 1 - accuracy, and mse, which of standardized targets is a share too."""

SOURCE = (
    "Ng, Improving Deep Neural Networks, 1.2 and 1.3; Lee, Machine Learning, recipe of deep learning; "
    "what counts as high is declared here, the sources give no number"
)

ADVICE = {
    "bias": "Train error is too high: take a bigger network or another activation, train longer, or tune "
    "the learning rate and the optimizer.",
    "variance": "Validation error is too far above train error: take more data or augment them, or "
    "regularize (penalty, dropout, early stopping).",
    "both": "First the train error: bigger network, longer training, tuned optimizer. Then its distance "
    "to the validation error: more data, regularization.",
    "neither": "Both errors are as low as declared achievable: nothing to cure.",
}
"""What the recipe advises, by what is high."""

High = Literal["bias", "variance", "both", "neither"]


def diagnose(
    records: pd.DataFrame,
    *,
    achievable: float | Mapping[str, float] = 0.0,
    large: float = 0.02,
    when: str = "",
    by: Sequence[str] = (),
) -> pd.DataFrame:
    """Split the validation error of each record, or of each group of them, into where it comes from.

    bias = train error - achievable error; variance = validation error - train error; both may be
    negative. Training and validation data are taken to be of one distribution, as splits of one set are.

    Args:
        records: one row a cell; with `data` where `achievable` differs between data sets.
        achievable: the error that the best possible model would have (the Bayes error, or what people
            reach), by data set or one for all: a share of mistakes, or of the targets' variance.
        large: above which bias or variance counts as high, in the same unit.
        when: the metrics' suffix: empty for the last epoch, `_at_best` for the best.
        by: columns such as `data, optimizer`: their records' errors (other seeds) are averaged first.

    Returns:
        Indexed like `records`, or with the columns `by` and one row a group in order of appearance:
        `n` (records with both errors), `train_error`, `validation_error`, `achievable`, `bias`,
        `variance`, `high` (bias, variance, both or neither), `dominates` (the larger of the two: bias,
        variance or equal) and `advice`. The last three are None where an error is lacking.

    Raises:
        RequestError: a column is lacking, or an error is no share.

    Example:
        >>> two = pd.DataFrame({"train_accuracy": [0.99, 0.85], "validation_accuracy": [0.89, 0.84]})
        >>> diagnose(two)[["bias", "variance", "high"]].values.tolist()
        [[0.01, 0.1, 'variance'], [0.15, 0.01, 'bias']]

    References:
        Ng, Improving Deep Neural Networks, 1.2 and 1.3.
    """
    _share("large", large)
    frame = pd.DataFrame(
        {
            "train_error": errors(records, "train", when=when),
            "validation_error": errors(records, "validation", when=when),
            "achievable": _achievable(records, achievable),
        }
    )
    both = frame[["train_error", "validation_error"]].notna().all(axis=1)
    frame.insert(0, "n", both.astype("int64"))
    frame.loc[~both, ["train_error", "validation_error"]] = np.nan
    if by:
        frame = _averaged(records, frame, list(by))
    # Twelve decimals, so that .85 and .7 are .15 from 1 and from each other: ties are ties.
    frame["bias"] = (frame["train_error"] - frame["achievable"]).round(12)
    frame["variance"] = (frame["validation_error"] - frame["train_error"]).round(12)
    pairs = list(zip(frame["bias"], frame["variance"], strict=True))
    judged = [None if _lacking(*pair) else high(*pair, large=large) for pair in pairs]
    frame["high"] = _texts(judged, frame)
    frame["dominates"] = _texts([None if _lacking(*pair) else larger(*pair) for pair in pairs], frame)
    frame["advice"] = _texts([ADVICE[name] if name else None for name in judged], frame)
    return frame


def errors(records: pd.DataFrame, split: str, *, when: str = "") -> pd.Series[float]:
    """Return each record's error on a split: 1 - accuracy where it has one, else mse; NaN for neither.

    Args:
        records: with `<split>_accuracy` or `<split>_mse`, or both where tasks are mixed.
        split: `train`, `validation` or `test`.
        when: the metrics' suffix.

    Raises:
        RequestError: there is neither column.

    Example:
        >>> frame = pd.DataFrame({"test_accuracy": [0.75, None], "test_mse": [None, 0.4]})
        >>> errors(frame, "test").tolist()
        [0.25, 0.4]
    """
    accuracy, mse = (f"{split}_{measure}{when}" for measure in MEASURES)
    if accuracy not in records.columns and mse not in records.columns:
        raise RequestError(f"records: {unknown('column', accuracy, map(str, records.columns))}")
    return (1 - _numbers(records, accuracy)).fillna(_numbers(records, mse))


def high(bias: float, variance: float, *, large: float = 0.02) -> High:
    """Return which of the two is above `large`.

    Example:
        >>> high(0.15, 0.15), high(0.005, 0.005)
        ('both', 'neither')
    """
    if bias > large:
        return "both" if variance > large else "bias"
    return "variance" if variance > large else "neither"


def larger(bias: float, variance: float) -> Literal["bias", "variance", "equal"]:
    """Return which of the two dominates.

    Example:
        >>> larger(0.01, 0.1)
        'variance'
    """
    if bias == variance:
        return "equal"
    return "bias" if bias > variance else "variance"


def _lacking(bias: float, variance: float) -> bool:
    return math.isnan(bias) or math.isnan(variance)


def _averaged(records: pd.DataFrame, frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    for column in by:
        if column not in records.columns:
            raise RequestError(f"records: {unknown('column', column, map(str, records.columns))}")
    together = pd.concat([records[by], frame], axis=1)
    groups = together.groupby(by, sort=False, dropna=False, observed=True)
    measures = dict.fromkeys(("train_error", "validation_error", "achievable"), "mean")
    return groups.agg({"n": "sum", **measures}).reset_index()


def _achievable(records: pd.DataFrame, achievable: float | Mapping[str, float]) -> pd.Series[float]:
    if not isinstance(achievable, Mapping):
        return pd.Series(_share("achievable", achievable), index=records.index, dtype="float64")
    if "data" not in records.columns:
        raise RequestError(f"records: {unknown('column', 'data', map(str, records.columns))}")
    shares = {name: _share(f"achievable: {name}", share) for name, share in achievable.items()}
    for name in records["data"].unique():
        if name not in shares:
            raise RequestError(f"achievable: expected a number for every data set, got none for {name!r}.")
    return records["data"].map(shares).astype("float64")


def _share(name: str, value: object) -> float:
    if type(value) not in (int, float) or not 0 <= value < 1:  # type: ignore[operator]
        raise RequestError(f"{name}: expected a number of at least 0 and below 1, got {value!r:.80}.")
    return float(value)  # type: ignore[arg-type]


def _numbers(records: pd.DataFrame, column: str) -> pd.Series[float]:
    if column not in records.columns:
        return pd.Series(np.nan, index=records.index, dtype="float64")
    return pd.to_numeric(records[column]).astype("float64")


def _texts(values: Sequence[str | None], frame: pd.DataFrame) -> pd.Series[Any]:
    return pd.Series(list(values), index=frame.index, dtype=object)
