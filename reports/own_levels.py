"""What a report says of levels of one's own: which file each came from, and how its cells were trained."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pandas as pd

_ORIGIN = re.compile(r"(\w+) (\w+): (.+?), SHA-256 ([0-9a-f]{64})(?:; |$)", re.DOTALL)


@dataclass(frozen=True)
class Packing:
    """What is known of how levels of one's own go into packs.

    Args:
        elementwise: the optimizers whose author says that they treat every number by itself.
        alone: cell ids of what cannot be packed, with the reason.
    """

    elementwise: Collection[str] = ()
    alone: Mapping[str, str] = field(default_factory=dict)


def sentences(records: pd.DataFrame, packing: Packing | None = None) -> list[str]:
    """Return a sentence for each level of a plug-in, and for each reason to train alone.

    Args:
        records: the records of a suite, of which `cell_id` and `plugins` are read.
        packing: how the levels go into packs; None where it is not known, and nothing is said of it.

    Returns:
        Plain text; empty where no level came from a plug-in.

    Example:
        >>> origin = f"optimizer lion: mine.py, SHA-256 {'ab' * 32}"
        >>> records = pd.DataFrame({"cell_id": ["1", "2"], "plugins": [origin, None]})
        >>> for sentence in sentences(records, Packing(elementwise={"lion"})):
        ...     print(sentence)
        Optimizer lion (1 of 2 cells) is of the plug-in mine.py, SHA-256 abababababababababababababababababababababababababababababababab. It is declared element-wise: one step serves all members of a pack, of which one is stepped by itself too, for a comparison of the bits.
    """  # noqa: E501
    if "plugins" not in records:
        return []
    counts = Counter(found for text in records["plugins"].dropna() for found in _ORIGIN.findall(text))
    said = [_of_level(found, count, len(records), packing) for found, count in sorted(counts.items())]
    return said + _alone(records, packing.alone if packing else {})


def _of_level(found: tuple[str, str, str, str], count: int, total: int, packing: Packing | None) -> str:
    axis, name, file, sha256 = found
    cells = f"{count:,} of {total:,} cells" if count < total else "all cells"
    said = f"{axis.capitalize()} {name} ({cells}) is of the plug-in {file}, SHA-256 {sha256}."
    if axis != "optimizer" or packing is None:
        return said
    if name in packing.elementwise:
        return (
            f"{said} It is declared element-wise: one step serves all members of a pack, of which one is "
            "stepped by itself too, for a comparison of the bits."
        )
    return f"{said} It is not declared element-wise: each member of a pack has parameters of its own."


def _alone(records: pd.DataFrame, alone: Mapping[str, str]) -> list[str]:
    reasons: dict[str, int] = defaultdict(int)
    for cell in records.loc[records["plugins"].notna(), "cell_id"]:
        if reason := alone.get(cell):
            reasons[reason] += 1
    return [
        f"{count:,} {'cell trains' if count == 1 else 'cells train'} alone, not in packs, with the same "
        f"result: {reason.rstrip('.')}."
        for reason, count in sorted(reasons.items())
    ]
