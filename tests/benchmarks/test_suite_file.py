"""The strict YAML reader: what it reads, what it refuses, and in which words."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recipebench.benchmarks.suite_file import MAX_BYTES, MAX_DEPTH, from_mapping, read, show_path
from recipebench.errors import RequestError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1.0e-3", 0.001),
        ("1E5", 100_000.0),
        ("+1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        (".INF", math.inf),
        ("0", 0),
        ("-7", -7),
        ("0777", 777),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("Yes", "Yes"),
        ("y", "y"),
        ("none", "none"),
        ("None", "None"),
        ("12:30", "12:30"),
        ("190:20:30.15", "190:20:30.15"),
        ("1_000", "1_000"),
        ("2001-12-14", "2001-12-14"),
        ("0b11", "0b11"),
        ("1e", "1e"),
        ("=", "="),
        ("'1e-3'", "1e-3"),
        ('"true"', "true"),
        ("'null'", "null"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    got = read(f"a: {text}").data

    assert got == {"a": value}
    assert isinstance(got, dict)
    assert type(got["a"]) is type(value)


def test_nan_is_a_number() -> None:
    got = read("[.nan, .NaN, .NAN]").data

    assert isinstance(got, list)
    assert [math.isnan(value) for value in got] == [True, True, True]


def test_nested_data_with_the_line_of_every_key_and_item() -> None:
    document = read("# a comment\na:\n  - b\n  - c: {d: 1,\n         e: [2]}\n'f': |\n  two\n  lines\n")

    assert document.data == {"a": ["b", {"c": {"d": 1, "e": [2]}}], "f": "two\nlines\n"}
    assert document.lines == {
        (): 2,
        ("a",): 2,
        ("a", 0): 3,
        ("a", 1): 4,
        ("a", 1, "c"): 4,
        ("a", 1, "c", "d"): 4,
        ("a", 1, "c", "e"): 5,
        ("a", 1, "c", "e", 0): 5,
        ("f",): 6,
    }


def test_merge_keys_are_ordinary_keys() -> None:
    assert read("<<: {a: 1}").data == {"<<": {"a": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "suite, line 3: expected each key once, got 'a' again (first in line 1)."),
        ("a: {b: 1, 'b': 2}", "suite, line 1: a: expected each key once, got 'b' again (first in line 1)."),
        ("a: &x 1", "suite, line 1: a: expected a value, got the anchor &x; write the value out."),
        ("&x a: 1", "suite, line 1: expected a value, got the anchor &x; write the value out."),
        ("b:\n - *x", "suite, line 2: b[0]: expected a value, got the alias *x; write the value out."),
        ("a: !!str 1", "suite, line 1: a: expected a plain value, got the tag tag:yaml.org,2002:str."),
        (
            "a: !!python/object/apply:os.system [ls]",
            "tag:yaml.org,2002:python/object/apply:os.system.",
        ),
        ("a: !x {b: 1}", "suite, line 1: a: expected a plain value, got the tag !x."),
        ("a: ! 1", "suite, line 1: a: expected a plain value, got the tag !."),
        ("a: 1\n---\nb: 2", "suite, line 2: expected one document, got a second one."),
        ("%YAML 1.1\n---\na: 1", "suite, line 1: expected no directives, got %YAML or %TAG."),
        ("%TAG ! tag:x,2000:\n---\na: 1", "suite, line 1: expected no directives, got %YAML or %TAG."),
        ("1: a", "suite, line 1: expected a name as key, got another kind of value; quote it if it is one."),
        ("true: a", "suite, line 1: expected a name as key, got another kind of value"),
        ("~: a", "suite, line 1: expected a name as key, got another kind of value"),
        ("? [a]\n: 1", "suite, line 1: expected a name as key, got another kind of value"),
        ("? {a: 1}\n: 1", "suite, line 1: expected a name as key, got another kind of value"),
        ("a: 1\nb: \x00", "suite, line 2: expected text, got control character U+0000."),
        ("a: \x1b[31m", "suite, line 1: expected text, got control character U+001B."),
        ("a: \x7f", "suite, line 1: expected text, got control character U+007F."),
        ("a: \ud800", "suite, line 1: expected text, got control character U+D800."),
        ('a: "\\0"', "suite, line 1: a: expected text, got control character U+0000."),
        ('"\\x1b": 1', "suite, line 1: expected text, got control character U+001B."),
        (f"a: {'9' * 5000}", "suite, line 1: a: expected a number, got 5000 digits."),
        (
            "a: 9223372036854775808",
            "line 1: a: expected a whole number of at most 63 bits, got a larger one.",
        ),
        ("a:\n\t- b", "suite, line 2: not valid YAML: found character"),
        ("a: 'b", "not valid YAML: found unexpected end of stream."),
        ("a: [1, 2", "not valid YAML: did not find expected ',' or ']'."),
        ("a: b: c", "suite, line 1: not valid YAML: mapping values are not allowed in this context."),
        ("- a\nb: 1", "suite, line 2: not valid YAML: did not find expected '-' indicator."),
        ("@", "suite, line 1: not valid YAML: found character that cannot start any token."),
        ("[" * 100_000, f"expected at most {MAX_DEPTH} levels of nesting, got more."),
        ("a: {" * 30_000, "suite, line 1"),
        ("- " * 1_000, f"expected at most {MAX_DEPTH} levels of nesting, got more."),
        ("#" * (MAX_BYTES + 1), "suite: expected at most 262,144 bytes, got more."),
        ("é" * (MAX_BYTES // 2 + 1), "suite: expected at most 262,144 bytes, got more."),
    ],
)
def test_what_a_suite_never_needs_is_refused(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(text)

    assert message in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_alias_bomb_is_refused_at_its_first_anchor() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{after}: &{after} [*{name}, *{name}]\n" for name, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(RequestError, match=r"^suite, line 1: a: expected a value, got the anchor &a"):
        read(bomb)


def test_files_are_called_by_their_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\na: 2\n")

    with pytest.raises(RequestError) as caught:
        read(path)

    assert str(caught.value).startswith(f"{path}, line 2: expected each key once")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [x]\r\n")

    assert read(path).data == {"a": 1, "b": ["x"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: \xff\n", "line 1: expected UTF-8 text, got byte 0xff."),
        (b"a: 1\nb: \xc3", "line 2: expected UTF-8 text, got byte 0xc3."),
        (b"a\x00", "line 1: expected text, got control character U+0000."),
        (b"#" * (MAX_BYTES + 1), "expected at most 262,144 bytes, got more."),
    ],
)
def test_bad_bytes_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)

    with pytest.raises(RequestError) as caught:
        read(path)

    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for name, found in [("none.yaml", "nothing"), ("", "a folder"), ("pipe", "no ordinary file")]:
        with pytest.raises(RequestError) as caught:
            read(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: expected a YAML file, found {found}."


def test_a_nul_in_a_path_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^a\\x00\.yaml: "):
        read(Path("a\0.yaml"))


def test_python_values_obey_the_rules_of_the_files() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "b": {"c": (1, 2)}}

    assert from_mapping(value).data == {"a": [1, 2.5, None, True, "x"], "b": {"c": [1, 2]}}


PLAIN = "expected plain text, numbers, lists or mappings"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "suite: expected names as keys, got one of type int."),
        ({"a": {None: 2}}, "suite: a: expected names as keys, got one of type NoneType."),
        (
            {"a": {1, 2}},
            f"suite: a: {PLAIN}, got a value of type set.",
        ),
        (
            {"a": [b"x"]},
            f"suite: a[0]: {PLAIN}, got a value of type bytes.",
        ),
        (
            {"a": object},
            f"suite: a: {PLAIN}, got a value of type type.",
        ),
        ({"a": 10**5000}, "suite: a: expected a whole number of at most 63 bits, got a larger one."),
        ({"a": "\x00"}, "suite: a: expected text, got control character U+0000."),
        ({"\x07": 1}, "suite: expected text, got control character U+0007."),
    ],
)
def test_python_values_that_no_file_could_hold_are_refused(value: object, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        from_mapping(value)

    assert str(caught.value) == message


def test_a_mapping_that_holds_itself_is_refused() -> None:
    value: dict[str, object] = {}
    value["a"] = value

    with pytest.raises(RequestError, match=f"expected at most {MAX_DEPTH} levels of nesting"):
        from_mapping(value)


def test_key_paths_read_as_people_write_them() -> None:
    assert show_path(("matrix", "optimizer", 0, "sgd", "lr")) == "matrix.optimizer[0].sgd.lr"
    assert show_path((0, "a")) == "[0].a"
    assert show_path(("x" * 300,)) == "x" * 80 + "…"
    assert show_path(("a\nb",)) == "a\\nb"


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(RequestError):
        assert isinstance(read(text).data, str | int | float | bool | list | dict | None)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text("abc: -#\n'\"[]{},&*!%é~0"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abno1", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_PLAIN)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    """PyYAML quotes for YAML 1.1, where more words than in 1.2 are booleans: quoted text stays text."""
    text = yaml.safe_dump(value)

    assert read(text.removesuffix("...\n")).data == from_mapping(value).data
