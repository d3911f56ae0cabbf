"""What a report says of levels of one's own: which file each came from, and how its cells were trained."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pandas as pd

from recipebench.reports.language import gettext, ngettext, say, together
from recipebench.reports.wording import factor_name

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
    cells = (
        say("{count} of {total} cells", count=f"{count:,}", total=f"{total:,}")
        if count < total
        else gettext("all cells")
    )
    said = say(
        "{axis} {level} ({cells}) is of the plug-in {file}, SHA-256 {sha256}.",
        axis=_capital(factor_name(axis)),
        level=name,
        cells=cells,
        file=file,
        sha256=sha256,
    )
    if axis != "optimizer" or packing is None:
        return said
    if name in packing.elementwise:
        how = gettext(
            "It is declared element-wise: one step serves all members of a pack, of which one is stepped by "
            "itself too, for a comparison of the bits."
        )
    else:
        how = gettext("It is not declared element-wise: each member of a pack has parameters of its own.")
    return together([said, how])


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _alone(records: pd.DataFrame, alone: Mapping[str, str]) -> list[str]:
    reasons: dict[str, int] = defaultdict(int)
    for cell in records.loc[records["plugins"].notna(), "cell_id"]:
        if reason := alone.get(cell):
            reasons[reason] += 1
    return [
        ngettext(
            "{count} cell trains alone, not in packs, with the same result: {reason}.",
            "{count} cells train alone, not in packs, with the same result: {reason}.",
            count,
        ).format(count=f"{count:,}", reason=reason.rstrip("."))
        for reason, count in sorted(reasons.items())
    ]
