"""Rows to Parquet bytes and back, exactly: every float bit, NaN apart from null, whole numbers, text.

Packs differ in their columns, and one column may hold whole numbers in one pack and text in
another. In memory a table therefore has one Arrow column for each (name, type) that occurs, called
`name|type`; tables of different packs then concatenate without a conversion. On disk the ending is
left out wherever a name has one type only.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recipebench.benchmarks.records import ALL_METRICS, AT_BEST, SPLITS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]

_TAGS = {"bool": "bool", "int64": "int", "double": "float", "string": "str", "null": "null"}
_TYPES = {"bool": "bool_", "int": "int64", "float": "float64", "str": "string", "null": "null"}
_LARGEST_EXACT = 2**53

_RECORD_HEAD = (
    *("cell_id", "suite", "data", "model", "activation", "initializer", "regularizer", "optimizer"),
    *("loss", "schedule", "augmentation"),
)
_RECORD_TEXT = (
    *_RECORD_HEAD,
    *("inputs", "last_batch", "sampling", "precision", "device", "status", "reason", "torch", "cpu"),
)
_RECORD_FACTS = (
    *("batch_size", "epochs", "inputs", "device", "seed", "status", "reason", "parameters", "steps"),
    *("pack_seconds", "best_epoch", "stopped_epoch", "torch", "cpu"),
)
_WHOLE = {"batch_size", "epochs", "epoch", "seed", "parameters", "steps", "best_epoch", "stopped_epoch"}
_MEASURED = [f"{s}_{m}{at}" for at in ("", AT_BEST) for s in ("fit", *SPLITS) for m in ALL_METRICS]
_NUMBERS = {*_MEASURED, "lr", "seconds", "pack_seconds"}
_BEFORE = {name: i for i, name in enumerate([*_RECORD_HEAD, "epoch", "seconds", "lr"])}
_AFTER = {name: i for i, name in enumerate([*_RECORD_FACTS, *_MEASURED])}


def is_time_column(name: str) -> bool:
    """Whether a column holds a duration: the only columns in which equal stores may differ.

    Example:
        >>> [is_time_column(name) for name in ("seconds", "pack_seconds", "test_loss")]
        [True, True, False]
    """
    return name == "seconds" or name.endswith("_seconds")


def table_from_rows(rows: Sequence[Mapping[str, object]], always: Mapping[str, str]) -> pa.Table:
    """Turn rows into a table with one column for each name and type.

    Args:
        rows: flat rows; values are `bool`, `int`, `float`, `str` or None, and a missing key is a None.
        always: columns (name to type: `int`, `float`, `str`) that exist even without a row.

    Returns:
        An Arrow table of `len(rows)` rows.

    Raises:
        TypeError: a value or a column name of another kind.
        OverflowError: a whole number beyond 64 bits.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {f"{name}|{tag}": [None] * len(rows) for name, tag in always.items()}
    for i, row in enumerate(rows):
        for name, value in row.items():
            if not isinstance(name, str) or not name or "|" in name:
                raise TypeError(f"Expected a column name without '|', got {name!r}.")
            tag = _tag_of(name, value)
            values = columns.setdefault(f"{_text(name)}|{tag}", [None] * len(rows))
            values[i] = _text(value) if isinstance(value, str) else value
    return pa.table({key: pa.array(values, _type(key), from_pandas=False) for key, values in columns.items()})


def _tag_of(name: str, value: object) -> str:
    if value is None:
        return "null"
    for kind, tag in ((bool, "bool"), (int, "int"), (float, "float"), (str, "str")):
        if isinstance(value, kind):
            return tag
    raise TypeError(
        f"Column {name!r}: expected a number, a text, true, false or None, got {type(value).__name__}."
    )


def _text(value: str) -> str:
    """Escape what UTF-8 cannot hold: lone surrogates, as from undecodable file names in an error."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _type(key: str) -> Any:
    import pyarrow as pa

    return getattr(pa, _TYPES[key.rpartition("|")[2]])()


def to_bytes(table: pa.Table) -> bytes:
    """Encode a table as a Parquet file.

    Dictionaries are for text only: a dictionary of floats would merge NaNs that differ in bits.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    by_name = _by_name(table.column_names)
    plain = {keys[0]: name for name, keys in by_name.items() if len(keys) == 1}
    kept = [key for keys in by_name.values() for key in keys]
    table = table.select(kept).rename_columns([plain.get(key, key) for key in kept])
    text = [field.name for field in table.schema if pa.types.is_string(field.type)]
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=1,
        use_dictionary=text,
        write_statistics=False,
    )
    return sink.getvalue()


def _by_name(keys: Iterable[str]) -> dict[str, list[str]]:
    """Group `name|type` by name; the empty type only counts where there is no other."""
    grouped: dict[str, list[str]] = {}
    for key in keys:
        grouped.setdefault(key.rpartition("|")[0], []).append(key)
    return {
        name: [key for key in found if not key.endswith("|null")] or found for name, found in grouped.items()
    }


def from_bytes(content: bytes) -> pa.Table:
    """Decode what `to_bytes` wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    return table.rename_columns([_tagged(field) for field in table.schema])


def _tagged(field: Any) -> str:
    name: str = field.name
    return name if "|" in name else f"{name}|{_TAGS[str(field.type)]}"


def join(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables below each other; a column that one lacks is null there."""
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def keep_cells(table: pa.Table, cell_ids: Iterable[str]) -> pa.Table:
    """Return the rows of these cells."""
    import pyarrow as pa
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    wanted = pa.array(list(cell_ids), pa.string())
    return table.filter(pc.is_in(table["cell_id|str"], value_set=wanted))


def in_order(table: pa.Table, cell_ids: Sequence[str]) -> pa.Table:
    """Sort rows by the place of their cell in `cell_ids`, then by epoch where there is one."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.index_in(table["cell_id|str"], value_set=pa.array(list(cell_ids), pa.string()))
    keys = [places.to_numpy()]
    if "epoch|int" in table.column_names:
        keys.insert(0, table["epoch|int"].to_numpy())
    return table.take(pa.array(np.lexsort(keys)))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as pandas columns that keep null apart from NaN: Float64, Int64, boolean, str.

    A name that holds several types becomes Float64 if these are numbers that a float holds exactly,
    else a column of Python values. Columns come in one order, whatever order they were written in.
    """
    import pandas as pd

    by_name = _by_name(table.column_names)
    names = sorted(by_name, key=_column_order)
    return pd.DataFrame({name: _series(name, {k: table[k] for k in by_name[name]}) for name in names})


def _column_order(name: str) -> tuple[int, int, str]:
    """Identity, hyper-parameters, facts and metrics, then the rest by name."""
    if name in _BEFORE:
        return 0, _BEFORE[name], name
    if name.partition(".")[0] in _RECORD_HEAD:
        return 1, _BEFORE[name.partition(".")[0]], name
    if name in _AFTER:
        return 2, _AFTER[name], name
    return 3, 0, name


def _series(name: str, columns: dict[str, Any]) -> Any:
    parts = {key.rpartition("|")[2]: column for key, column in columns.items()}
    if len(parts) == 1:
        ((tag, column),) = parts.items()
        if tag == "null":
            tag = _declared(name)
            column = column.cast(_type(f"|{tag}"))
        return _TO_PANDAS[tag](column)
    if set(parts) == {"int", "float"} and _is_exact(parts["int"]):
        return _merge_numbers(parts["int"], parts["float"])
    rows = zip(*(column.to_pylist() for column in parts.values()), strict=True)
    return _objects([next((value for value in row if value is not None), None) for row in rows])


def _declared(name: str) -> str:
    """The type of a column in which every value is null."""
    if name in _WHOLE:
        return "int"
    if name in _NUMBERS or is_time_column(name):
        return "float"
    return "str" if name in _RECORD_TEXT else "null"


def _is_exact(column: Any) -> bool:
    return all(value is None or abs(value) <= _LARGEST_EXACT for value in column.to_pylist())


def _masked(column: Any, zero: object) -> tuple[Any, Any]:
    return column.fill_null(zero).to_numpy().copy(), column.is_null().to_numpy().copy()


def _floats(column: Any) -> Any:
    import pandas as pd

    return pd.arrays.FloatingArray(*_masked(column, 0.0))


def _integers(column: Any) -> Any:
    import pandas as pd

    return pd.arrays.IntegerArray(*_masked(column, 0))


def _booleans(column: Any) -> Any:
    import pandas as pd

    return pd.arrays.BooleanArray(*_masked(column, False))


def _strings(column: Any) -> Any:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    text: Any = pd.StringDtype(na_value=np.nan)
    return text.__from_arrow__(column.cast(pa.large_string()))


def _objects(column: Any) -> Any:
    import numpy as np

    values = column if isinstance(column, list) else column.to_pylist()
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


_TO_PANDAS: dict[str, Callable[[Any], Any]] = {
    "bool": _booleans,
    "int": _integers,
    "float": _floats,
    "str": _strings,
    "null": _objects,
}


def _merge_numbers(whole: Any, real: Any) -> Any:
    import numpy as np
    import pandas as pd

    numbers, no_number = _masked(whole, 0)
    floats, no_float = _masked(real, 0.0)
    values = np.where(no_number, floats, numbers.astype("float64"))
    return pd.arrays.FloatingArray(values, no_number & no_float)


def update_digest(digest: hashlib._Hash, table: pa.Table) -> None:
    """Feed all values but durations to a hash, bit for bit, in the table's order of rows.

    Columns count by name and type, whatever their order; a column of nulls counts as absent.
    """
    for key in sorted(table.column_names):
        column = table[key]
        if is_time_column(key.rpartition("|")[0]) or column.null_count == len(column):
            continue
        digest.update(json.dumps([key, len(column)]).encode())
        digest.update(column.is_null().to_numpy().tobytes())
        digest.update(_value_bytes(key.rpartition("|")[2], column))


def _value_bytes(tag: str, column: Any) -> bytes:
    if tag == "str":
        return json.dumps(column.to_pylist()).encode()
    little = {"bool": "?", "int": "<i8", "float": "<f8"}[tag]
    return bytes(column.fill_null(0 if tag != "bool" else False).to_numpy().astype(little).tobytes())
