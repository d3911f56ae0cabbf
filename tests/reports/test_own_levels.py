"""What a report says of levels of one's own, of records as the store keeps them."""

from __future__ import annotations

import pandas as pd
import pytest

from recipebench.reports.own_levels import Packing, sentences

FIRST, SECOND = "ab" * 32, "0c" * 32
LION = f"optimizer lion: mine.py, SHA-256 {FIRST}"
MUON = f"optimizer muon: mine.py, SHA-256 {FIRST}"
SWISH = f"activation swish: odd; name, SHA-256.py, SHA-256 {SECOND}"


def records(*plugins: str | None) -> pd.DataFrame:
    return pd.DataFrame({"cell_id": [f"cell{i}" for i in range(len(plugins))], "plugins": plugins})


def test_nothing_is_said_where_no_level_is_ones_own() -> None:
    assert sentences(records(None, None), Packing()) == []
    assert sentences(records(None).drop(columns="plugins")) == []


def test_every_level_is_named_once_with_file_hash_and_cells() -> None:
    said = sentences(records(None, f"{SWISH}; {LION}", LION, f"{SWISH}; {MUON}"))

    assert said == [
        f"Activation swish (2 of 4 cells) is of the plug-in odd; name, SHA-256.py, SHA-256 {SECOND}.",
        f"Optimizer lion (2 of 4 cells) is of the plug-in mine.py, SHA-256 {FIRST}.",
        f"Optimizer muon (1 of 4 cells) is of the plug-in mine.py, SHA-256 {FIRST}.",
    ]
    assert "(all cells)" in sentences(records(LION, LION))[0]


def test_a_plug_in_that_changed_between_runs_is_named_twice() -> None:
    said = sentences(records(LION, LION.replace(FIRST, SECOND)))

    assert [s.rpartition(" ")[2] for s in said] == [f"{SECOND}.", f"{FIRST}."]


@pytest.mark.parametrize(
    ("elementwise", "ending"),
    [
        (
            {"lion"},
            " It is declared element-wise: one step serves all members of a pack, of which one is stepped by "
            "itself too, for a comparison of the bits.",
        ),
        (set(), " It is not declared element-wise: each member of a pack has parameters of its own."),
    ],
)
def test_optimizers_say_how_they_step_the_members_of_a_pack(elementwise: set[str], ending: str) -> None:
    lion, *rest = sentences(records(LION), Packing(elementwise))

    assert rest == []
    assert lion.endswith(ending)


def test_cells_that_cannot_be_packed_are_counted_by_reason() -> None:
    alone = {"cell0": "layer 1 (Swish) has no packed form", "cell1": "of no cell with a plug-in"}
    alone |= {"cell2": "layer 1 (Swish) has no packed form", "cell3": "Odd is not a SupervisedModule."}
    *_, first, second = sentences(records(SWISH, None, SWISH, SWISH), Packing(alone=alone))

    assert first == "1 cell trains alone, not in packs, with the same result: Odd is not a SupervisedModule."
    assert second == (
        "2 cells train alone, not in packs, with the same result: layer 1 (Swish) has no packed form."
    )
