"""Rows survive the way to Parquet and back, bit for bit."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipebench.benchmarks import store_tables as tables

ALWAYS = {"cell_id": "str", "epoch": "int"}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="|"), min_size=1, max_size=12)


def _rows(extra: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "cell_id": f"{i:016x}", "epoch": i} for i, row in enumerate(extra)]


def _bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


def _values(table: Any) -> list[dict[str, Any]]:
    """Undo the columns by type: the non-null values of each row, floats as bits."""
    rows: list[dict[str, Any]] = [{} for _ in range(table.num_rows)]
    for key in table.column_names:
        name, _, tag = key.rpartition("|")
        for row, value in zip(rows, table[key].to_pylist(), strict=True):
            if value is not None:
                assert name not in row
                row[name] = (tag, _bits(value))
    return rows


def _expected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    tags = {bool: "bool", int: "int", float: "float", str: "str"}
    return [{k: (tags[type(v)], _bits(v)) for k, v in row.items() if v is not None} for row in rows]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=5), max_size=6))
def test_values_round_trip_with_their_types(extra: list[dict[str, Any]]) -> None:
    rows = _rows(extra)

    table = tables.from_bytes(tables.to_bytes(tables.table_from_rows(rows, ALWAYS)))

    assert _values(table) == _expected(rows)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES), min_size=1, max_size=8), st.data())
def test_digest_does_not_depend_on_how_rows_were_cut(extra: list[dict[str, Any]], data: Any) -> None:
    rows = _rows(extra)
    order = [row["cell_id"] for row in rows]
    cut = data.draw(st.integers(0, len(rows)))
    shuffled = data.draw(st.permutations(rows))

    def digest(parts: list[list[dict[str, Any]]]) -> str:
        encoded = [tables.to_bytes(tables.table_from_rows(part, ALWAYS)) for part in parts]
        joined = tables.in_order(tables.join([tables.from_bytes(content) for content in encoded]), order)
        result = hashlib.sha256()
        tables.update_digest(result, joined)
        return result.hexdigest()

    assert digest([rows]) == digest([shuffled[:cut], shuffled[cut:]])


@pytest.mark.parametrize("pair", [(1, 1.0), (0.0, -0.0), (True, 1), ("1", 1), (None, math.nan), ("a", "b")])
def test_digest_tells_values_apart(pair: tuple[Any, Any]) -> None:
    found = []
    for value in pair:
        digest = hashlib.sha256()
        tables.update_digest(digest, tables.table_from_rows(_rows([{"x": value, "y": 1}]), ALWAYS))
        found.append(digest.hexdigest())

    assert found[0] != found[1]


def test_digest_leaves_durations_out() -> None:
    found = set()
    for value in (1.0, 2.0):
        digest = hashlib.sha256()
        row = {"seconds": value, "pack_seconds": value, "load_seconds": value, "x": 1}
        tables.update_digest(digest, tables.table_from_rows(_rows([row]), ALWAYS))
        found.add(digest.hexdigest())

    assert len(found) == 1


def test_not_a_number_with_a_payload_keeps_every_bit() -> None:
    odd = struct.unpack("<d", bytes.fromhex("efbeadde0000f87f"))[0]
    rows = _rows([{"x": odd}, {"x": math.nan}, {"x": None}, {"x": -0.0}])

    frame = tables.to_frame(tables.from_bytes(tables.to_bytes(tables.table_from_rows(rows, ALWAYS))))

    column = frame["x"].array
    assert column.isna().tolist() == [False, False, True, False]
    assert [_bits(float(column[i])) for i in (0, 1, 3)] == [_bits(odd), _bits(math.nan), _bits(-0.0)]


def test_frame_has_one_pandas_type_for_each_kind() -> None:
    row = {
        "status": "ok",
        "steps": 3,
        "test_loss": 0.5,
        "flag": True,
        "stopped_epoch": None,
        "train_r2": None,
    }

    frame = tables.to_frame(tables.table_from_rows(_rows([row]), ALWAYS))

    assert frame.dtypes.astype(str).to_dict() == {
        "cell_id": "str",
        "epoch": "Int64",
        "steps": "Int64",
        "status": "str",
        "stopped_epoch": "Int64",
        "test_loss": "Float64",
        "train_r2": "Float64",
        "flag": "boolean",
    }


def test_columns_come_in_one_order() -> None:
    names = ["zeta", "test_loss", "optimizer.lr", "status", "optimizer", "activation", "train_loss", "seed"]
    frames = [
        tables.to_frame(tables.table_from_rows([dict.fromkeys(order, 1)], {"cell_id": "str"}))
        for order in (names, names[::-1])
    ]

    for frame in frames:
        assert list(frame) == [
            *("cell_id", "activation", "optimizer", "optimizer.lr", "seed", "status"),
            *("train_loss", "test_loss", "zeta"),
        ]


def test_whole_and_real_numbers_share_a_float_column_where_that_is_exact() -> None:
    frame = tables.to_frame(tables.table_from_rows(_rows([{"x": 3}, {"x": 0.5}, {"x": None}]), ALWAYS))

    pd.testing.assert_series_equal(frame["x"], pd.Series([3.0, 0.5, None], dtype="Float64", name="x"))


@pytest.mark.parametrize("values", [[2**60 + 1, 0.5], [1, "one"], [True, "yes"], [True, 2]])
def test_other_mixtures_keep_their_python_values(values: list[Any]) -> None:
    frame = tables.to_frame(tables.table_from_rows(_rows([{"x": value} for value in values]), ALWAYS))

    assert [(type(v), v) for v in frame["x"]] == [(type(v), v) for v in values]


def test_text_that_utf8_cannot_hold_is_escaped() -> None:
    table = tables.table_from_rows(_rows([{"reason": "no file a\udc80"}]), ALWAYS)

    assert table["reason|str"].to_pylist() == ["no file a\\udc80"]


@pytest.mark.parametrize("value", [[1, 2], (1, 2), b"x", 1j, {"a": 1}])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(
        TypeError, match="Column 'hidden': expected a number, a text, true, false or None, got"
    ):
        tables.table_from_rows(_rows([{"hidden": value}]), ALWAYS)


@pytest.mark.parametrize("name", ["", "a|int", 3])
def test_other_column_names_are_refused(name: Any) -> None:
    with pytest.raises(TypeError, match="Expected a column name without"):
        tables.table_from_rows([{name: 1}], ALWAYS)
