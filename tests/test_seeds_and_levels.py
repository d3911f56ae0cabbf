"""Named seeds against SHA-256 itself; levels, choices and catalogs against what a person may write."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipebench.errors import RequestError, unknown
from recipebench.levels import Catalog, Choice, Level, Parameter
from recipebench.seeds import seed_for

# Seeds -------------------------------------------------------------------------------------------


def test_a_seed_is_the_beginning_of_the_hash_of_its_names() -> None:
    digest = hashlib.sha256(b'["init",7,"linear_1.weight",[128,784]]').digest()

    assert seed_for("init", 7, "linear_1.weight", [128, 784]) == int.from_bytes(digest[:8], "big") // 2


def test_known_seeds_never_change() -> None:
    """Stored results depend on these numbers: a change of them is a change of the training semantics."""
    assert seed_for("split", "mnist", 0) == 3805566496416040347
    assert seed_for("order", "mnist", 0, 1) == 5089901257012519597
    assert seed_for("noise", "数", 0) == 6888258306569034087


def test_seeds_are_the_same_in_every_process() -> None:
    code = "from recipebench.seeds import seed_for; print(seed_for('order', 'digits', 3, 2))"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )

    assert int(done.stdout) == seed_for("order", "digits", 3, 2)


def test_the_purposes_and_names_of_a_run_have_streams_of_their_own() -> None:
    names = [
        (purpose, data, seed, epoch)
        for purpose in ("split", "order", "init", "noise", "subset", "generate")
        for data in ("mnist", "fashion_mnist", "digits", "digits1")
        for seed in range(20)
        for epoch in (0, 1, 11, 111)
    ]

    assert len({seed_for(*name) for name in names}) == len(names)


def test_names_are_kept_apart() -> None:
    alike: list[tuple[Any, ...]] = [
        ("a", "b"),
        ("ab",),
        ("a", "b", ""),
        ("a", ["b"]),
        ("a,b",),
        ('a","b',),
        ("a", 1),
        ("a", "1"),
        ("a", 1.0),
    ]

    assert len({seed_for(*name) for name in alike}) == len(alike)


def test_a_tuple_is_a_list() -> None:
    assert seed_for("init", (2, 3)) == seed_for("init", [2, 3])


@given(st.text(), st.lists(st.one_of(st.integers(), st.text(), st.lists(st.integers()))))
def test_every_seed_suits_a_generator(purpose: str, names: list[Any]) -> None:
    seed = seed_for(purpose, *names)

    assert 0 <= seed < 2**63
    assert torch.Generator().manual_seed(seed).initial_seed() == seed


def test_seeds_are_spread_over_all_bits() -> None:
    seeds = [seed_for("order", "mnist", 0, epoch) for epoch in range(2000)]

    shares = [sum(seed >> bit & 1 for seed in seeds) / len(seeds) for bit in range(63)]
    assert all(abs(share - 0.5) < 0.06 for share in shares)  # five standard errors


def test_a_name_without_a_text_is_refused() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        seed_for("init", object())


# Levels ------------------------------------------------------------------------------------------

RATE = Parameter(name="lr", type=float, default=0.1, summary="A rate.", minimum=0, exclusive=True)
SHARE = Parameter(name="p", type=float, default=0.5, summary="A share.", minimum=0, maximum=1)
COUNT = Parameter(name="n", type=int, default=2, summary="A count.", minimum=1)
KIND = Parameter(name="kind", type=str, default="a", summary="A kind.", choices=("alpha", "beta", "a"))
FLAG = Parameter(name="flag", type=bool, default=False, summary="A flag.")
WIDTHS = Parameter(name="hidden", type=tuple, default=(8,), summary="Widths.")


def colors() -> Catalog:
    red = Level(name="red", summary="Red.", source="a test", parameters=(RATE, COUNT))
    return Catalog("color", [red, Level(name="blue", summary="Blue.", source="a test")])


@pytest.mark.parametrize(
    ("parameter", "value", "canonical"),
    [
        (RATE, 1, 1.0),
        (RATE, 1e-300, 1e-300),
        (SHARE, 0, 0.0),
        (SHARE, 1, 1.0),
        (COUNT, 1, 1),
        (KIND, "beta", "beta"),
        (FLAG, True, True),
        (WIDTHS, [128, 64], (128, 64)),
        (WIDTHS, (), ()),
    ],
    ids=str,
)
def test_values_get_their_canonical_type(parameter: Parameter, value: object, canonical: object) -> None:
    checked = parameter.check(value, "color red")

    assert checked == canonical
    assert type(checked) is type(canonical)


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        (RATE, 0, "color red: lr: expected a number above 0, got 0.0."),
        (RATE, "1e-3", "color red: lr: expected a number above 0, got '1e-3'."),
        (RATE, True, "color red: lr: expected a number above 0, got True."),
        (RATE, float("inf"), "color red: lr: expected a number above 0, got inf."),
        (RATE, float("nan"), "color red: lr: expected a number above 0, got nan."),
        (RATE, None, "color red: lr: expected a number above 0, got None."),
        (SHARE, 1.5, "color red: p: expected a number between 0 and 1, got 1.5."),
        (COUNT, 1.0, "color red: n: expected a whole number of at least 1, got 1.0."),
        (COUNT, 0, "color red: n: expected a whole number of at least 1, got 0."),
        (COUNT, True, "color red: n: expected a whole number of at least 1, got True."),
        (KIND, "bta", "color red: kind: Unknown value 'bta'. Known: a, alpha, beta. Did you mean 'beta'?"),
        (KIND, 3, "color red: kind: expected a name, got 3."),
        (FLAG, 1, "color red: flag: expected true or false, got 1."),
        (WIDTHS, 8, "color red: hidden: expected a list of positive whole numbers, got 8."),
        (WIDTHS, [8, 0], "color red: hidden: expected a list of positive whole numbers, got [8, 0]."),
        (WIDTHS, [True], "color red: hidden: expected a list of positive whole numbers, got [True]."),
        (WIDTHS, "88", "color red: hidden: expected a list of positive whole numbers, got '88'."),
    ],
    ids=str,
)
def test_wrong_values_are_refused_with_what_was_expected(
    parameter: Parameter, value: object, message: str
) -> None:
    with pytest.raises(RequestError, match=f"^{re.escape(message)}$"):
        parameter.check(value, "color red")


@pytest.mark.parametrize(
    ("spec", "choice"),
    [
        ("red", Choice("red", {"lr": 0.1, "n": 2})),
        ({"red": {"n": 3}}, Choice("red", {"lr": 0.1, "n": 3})),
        ({"red": None}, Choice("red", {"lr": 0.1, "n": 2})),
        ({"red": {"n": 3, "lr": 1}}, Choice("red", {"lr": 1.0, "n": 3})),
        (Choice("red", {"n": 5}), Choice("red", {"lr": 0.1, "n": 5})),
        ("blue", Choice("blue", {})),
    ],
    ids=str,
)
def test_a_choice_is_filled_in_in_declared_order(spec: object, choice: Choice) -> None:
    chosen = colors().choose(spec)

    assert chosen == choice
    assert list(chosen.parameters) == list(choice.parameters)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rde", "Unknown color 'rde'. Known: blue, red. Did you mean 'red'?"),
        ({"red": {"rl": 1}}, "color red: Unknown hyper-parameter 'rl'. Known: lr, n. Did you mean 'lr'?"),
        ({"blue": {"lr": 1}}, "color blue: expected no hyper-parameters, got 'lr'."),
        ({"red": 3}, "color red: expected hyper-parameters as a mapping, got 3."),
        (
            {"red": {}, "blue": {}},
            "color: expected a name or one name with its hyper-parameters, got {'red': {}, 'blue': {}}.",
        ),
        (None, "color: expected a name or one name with its hyper-parameters, got None."),
        (["red"], "color: expected a name or one name with its hyper-parameters, got ['red']."),
    ],
    ids=str,
)
def test_wrong_requests_are_refused_with_the_nearest_name(spec: object, message: str) -> None:
    with pytest.raises(RequestError, match=f"^{re.escape(message)}$"):
        colors().choose(spec)


def test_a_message_stays_short() -> None:
    with pytest.raises(RequestError) as error:
        colors().choose("x" * 10_000)

    assert len(str(error.value)) < 200


def test_a_catalog_is_a_mapping_that_grows_and_refuses_duplicates() -> None:
    catalog = colors()
    catalog.add(Level(name="green", summary="Green.", source="a test"))

    assert list(catalog) == ["red", "blue", "green"]
    assert len(catalog) == 3
    assert catalog["green"].summary == "Green."
    with pytest.raises(RequestError, match="color 'green' exists already; choose another name"):
        catalog.add(Level(name="green", summary="Another.", source="a test"))


def test_choosing_changes_nothing_that_was_given() -> None:
    spec = {"red": {"n": 3}}

    colors().choose(spec)

    assert spec == {"red": {"n": 3}}


# Errors ------------------------------------------------------------------------------------------


def test_an_unknown_name_gets_the_nearest_or_none() -> None:
    known = ["sgd", "adam"]

    assert unknown("optimizer", "adm", known) == (
        "Unknown optimizer 'adm'. Known: adam, sgd. Did you mean 'adam'?"
    )
    assert unknown("optimizer", "xyz", known) == "Unknown optimizer 'xyz'. Known: adam, sgd."
    assert unknown("optimizer", None, known).startswith("Unknown optimizer None. Known: adam, sgd.")
