"""Claims of a suite: what they resolve to, and in what words a wrong one is refused."""

# ruff: noqa: E501  (messages stand in one piece, as they are read)

from __future__ import annotations

import re
from typing import Any

import pytest

from recipebench.benchmarks.agenda import agenda
from recipebench.benchmarks.cells import expand
from recipebench.benchmarks.reporting import describe
from recipebench.benchmarks.suite import json_schema, load_suite, shipped, validate
from recipebench.benchmarks.suite_file import read
from recipebench.errors import RequestError
from recipebench.levels import Choice, Tuned

HEAD = """\
name: t
data: [digits, synthetic_regression]
matrix:
  activation: [relu, sigmoid, {maxout: {pieces: 2}}, {maxout: {pieces: 3}}]
  initializer: [xavier, he]
  optimizer: [sgd, {adam: {lr: {tune: {low: 1.0e-4, high: 0.1, trials: 4}}}}, adam]
  batch_size: [16, 32]
smallest_effect: {digits: 0.01}
"""
ONE = "{better: {activation: relu}, than: {activation: sigmoid}, data: digits}"
HERE = "bad.yaml, line 9: "

BAD = {
    "no list": ("claims: {better: 1}", "claims: expected a list of claims, got {'better': 1}."),
    "no mapping": ("claims: [relu]", "claims[0]: expected a mapping of better, than and what else a claim has, got 'relu'."),
    "no than": ("claims: [{better: {activation: relu}}]", "claims[0].than: expected this key, got nothing."),
    "unknown key": (f"claims: [{ONE[:-1]}, sope: new}}]", "claims[0].sope: Unknown key 'sope'. Known: better, data, kind, name, of, scope, than, where. Did you mean 'scope'?"),
    "two factors": ("claims: [{better: {activation: relu, initializer: he}, than: {activation: relu}}]", "claims[0].better: expected one factor with one level, got {'activation': 'relu', 'initializer': 'he'}."),
    "other factor": ("claims: [{better: {activation: relu}, than: {initializer: he}}]", "claims[0].than: expected a level of activation as in better, got one of initializer."),
    "same level": ("claims: [{better: {activation: relu}, than: {activation: relu}}]", "expected another level than"),
    "unknown level": ("claims: [{better: {activation: rleu}, than: {activation: sigmoid}}]", "claims[0].better.activation: Unknown activation 'rleu'."),
    "unknown factor": ("claims: [{better: {actvation: relu}, than: {actvation: sigmoid}}]", "claims[0].better.actvation: Unknown factor 'actvation'."),
    "data as factor": ("claims: [{better: {data: digits}, than: {data: mnist}}]", "claims[0].better.data: Unknown factor 'data'."),
    "unplanned level": ("claims: [{better: {activation: tanh}, than: {activation: sigmoid}}]", "claims[0].better.activation: Unknown activation of this suite 'tanh'. Known: maxout, relu, sigmoid."),
    "unplanned value": ("claims: [{better: {batch_size: 64}, than: {batch_size: 32}}]", "claims[0].better.batch_size: expected what is planned, 16; 32; got 64."),
    "unplanned where": (f"claims: [{ONE[:-1]}, where: {{initializer: small_gaussian}}}}]", "claims[0].where.initializer: Unknown initializer of this suite 'small_gaussian'. Known: he, xavier."),
    "empty where": (f"claims: [{ONE[:-1]}, where: {{initializer: []}}}}]", "claims[0].where.initializer: expected at least one level, got an empty list."),
    "where of the compared": (f"claims: [{ONE[:-1]}, where: {{activation: relu}}}}]", "claims[0].where.activation: expected another factor than activation, which better names."),
    "several levels": ("claims: [{better: {activation: maxout}, than: {activation: relu}, data: digits}]", "claims[0].better.activation: expected one planned level, but maxout is any of maxout (pieces=2, match=units); maxout (pieces=3, match=units): give the hyper-parameters."),
    "not tuned": ("claims: [{better: {optimizer: {sgd: {lr: tuned}}}, than: {optimizer: adam}, data: digits}]", "claims[0].better.optimizer: expected what is planned, sgd (lr=0.1); adam (tuned lr; beta1=0.9, beta2=0.999, eps=1e-08); adam (lr=0.001,"),
    "tuned nothing": ("claims: [{better: {optimizer: {adam: {rate: tuned}}}, than: {optimizer: sgd}}]", "claims[0].better.optimizer.adam.rate: optimizer adam: Unknown hyper-parameter 'rate'."),
    "a range": ("claims: [{better: {optimizer: {adam: {lr: {tune: {low: 0.1, high: 1, trials: 4}}}}}, than: {optimizer: sgd}}]", "expected a value, or tuned for the one that validation chooses, got a range."),
    "unplanned data": (f"claims: [{ONE.replace('digits', 'mnist')}]", "claims[0]: Unknown data of this suite 'mnist'. Known: digits, synthetic_regression."),
    "unknown data": (f"claims: [{ONE.replace('digits', 'mnits')}]", "claims[0].data: Unknown data 'mnits'."),
    "two endpoints": ("claims: [{better: {activation: relu}, than: {activation: sigmoid}}]", "claims[0]: expected data of one endpoint, got test_accuracy_at_best on digits, test_mse_at_best on synthetic_regression: give data."),
    "no effect": (f"claims: [{ONE.replace('digits', 'synthetic_regression')}]", "claims[0]: expected a smallest effect for synthetic_regression, to judge the claim by."),
    "kind": (f"claims: [{ONE[:-1]}, kind: equal}}]", "claims[0].kind: Unknown kind 'equal'. Known: equivalent, greater."),
    "scope": (f"claims: [{ONE[:-1]}, scope: all}}]", "claims[0].scope: Unknown scope 'all'. Known: new, these."),
    "of": (f"claims: [{ONE[:-1]}, of: [best]}}]", "claims[0].of: Unknown of ['best']."),
    "best of untuned": (f"claims: [{ONE[:-1]}, of: best}}]", "claims[0].of: best chooses among recipes by their tuning seeds, but relu + xavier + none + sgd"),
    "twice": (f"claims: [{ONE}, {ONE}]", "claims[1]: expected each claim once, got 'relu > sigmoid on digits' again."),
    "long name": (f"claims: [{ONE[:-1]}, name: {'x' * 201}}}]", "claims[0].name: expected one line of 1 to 200 characters, got"),
    "too many": (f"claims: [{', '.join(f'{ONE[:-1]}, name: c{i}}}' for i in range(101))}]", "claims: expected at most 100 claims, got 101."),
    "reference of what is none": ("reference: {digits: 0.995}", "reference.digits: expected an accuracy between 0 and 1 - 0.01, got 0.995."),
    "reference of other data": ("reference: {mnist: 0.9}", "reference.mnist: Unknown data of this suite 'mnist'."),
    "negative reference": ("reference: {digits: -1}", "reference.digits: expected a number of at least 0, got -1."),
}  # fmt: skip


def suite(text: str) -> Any:
    return validate(read(HEAD + text, name="bad.yaml"))


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_wrong_claim_is_refused_with_its_place_and_what_would_do(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        suite(text)

    got = str(caught.value)
    assert got.startswith(HERE), got
    assert message in got
    assert "\n" not in got


def test_equivalence_and_several_data_sets_need_effects_that_go_together() -> None:
    two = HEAD.replace("digits, synthetic_regression", "digits, mnist")
    claim = "claims: [{better: {activation: relu}, than: {activation: sigmoid}%s}]"
    cases = {
        ("{digits: 0.01, mnist: 0}", ""): "above 0 on all of its data, or 0 on all",
        ("{digits: 0, mnist: 0}", ", kind: equivalent"): "nothing is equivalent within 0",
        (
            "{digits: 0.01, mnist: 0.01}\nreference: {digits: 0.9}",
            "",
        ): "a reference for all of its data or none, got none for mnist",
    }

    for (effects, kind), message in cases.items():
        with pytest.raises(RequestError, match=re.escape(message)):
            validate(read(two.replace("{digits: 0.01}", effects) + claim % kind))


def test_a_claim_names_planned_levels_and_all_data_on_which_both_are_planned() -> None:
    found = suite(
        "claims:\n"
        "- {better: {activation: {maxout: {pieces: 3}}}, than: {activation: relu}, data: digits, name: ' wide '}\n"
        "- {better: {optimizer: {adam: {lr: tuned}}}, than: {optimizer: adam}, where: {batch_size: [32, 16]}, data: digits}\n"
        "- {better: {batch_size: 16}, than: {batch_size: 32}, where: {activation: [relu, sigmoid], initializer: he}, data: digits, scope: new}\n"
    ).registered()

    wide, tuned, small = found
    assert wide.name == "wide"
    assert wide.first == (Choice("maxout", {"pieces": 3, "match": "units"}),)
    assert isinstance(tuned.first[0], Tuned)
    assert tuned.second == (Choice("adam", {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}),)
    assert tuned.name == "adam (tuned lr) > adam, where batch_size 32 or 16 on digits"
    assert (small.first, small.second, small.scope) == ((16,), (32,), "new")
    assert [choice.name for choice in small.where["activation"]] == ["relu", "sigmoid"]  # type: ignore[union-attr]
    assert [choice.name for choice in small.data] == ["digits"]


def test_words_of_the_protocol_are_the_numbers_of_the_records() -> None:
    text = HEAD.replace("  batch_size: [16, 32]\n", "  train_samples: [500, all]\n  batch_size: [32, full]\n")

    samples, batch = validate(
        read(
            text
            + "claims:\n- {better: {train_samples: all}, than: {train_samples: 500}, data: digits}\n"
            + "- {better: {batch_size: 32}, than: {batch_size: full}, where: {train_samples: all}, data: digits}\n"
        )
    ).registered()

    assert (samples.first, samples.second) == ((1294,), (500,))
    assert (batch.first, batch.second, batch.where["train_samples"]) == ((32,), (1294,), (1294,))


def test_claims_change_no_cell_and_reach_the_report() -> None:
    with_claims, without = suite(f"claims: [{ONE}]\nreference: {{digits: 0.95}}"), suite("")

    assert [c.id for c in expand(with_claims)] == [c.id for c in expand(without)]
    info = describe(with_claims, agenda(with_claims), "")
    assert [claim.name for claim in info.claims] == ["relu > sigmoid on digits"]
    assert info.reference == {"digits": 0.95}
    assert info.items["digits"] == 359
    assert info.scale("digits") == "log_error"


@pytest.mark.parametrize("name", sorted(shipped()))
def test_shipped_families_are_small_and_judge_no_untuned_optimizers(name: str) -> None:
    found = load_suite(name).registered()

    assert len(found) <= 8
    for claim in found:
        if claim.axis == "optimizer":
            assert any(isinstance(level, Tuned) for level in (*claim.first, *claim.second))


def test_the_schema_describes_claims() -> None:
    claims = json_schema()["properties"]["claims"]

    assert claims["items"]["required"] == ["better", "than"]
    assert "model.depth" in claims["items"]["properties"]["where"]["propertyNames"]["enum"]
