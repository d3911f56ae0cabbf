"""The two packs that are compared differ in their rates and in nothing else."""

from __future__ import annotations

import sys

import pytest

from recipebench.benchmarks.speed import rates


@pytest.mark.parametrize("optimizer", rates.OPTIMIZERS)
def test_the_packs_differ_in_rates_alone(optimizer: str) -> None:
    setting = "mnist 128-64 batch 128, pack of 10"
    one, many = (rates.pack_of(setting, optimizer, one_rate=one) for one in (True, False))

    found = [[c.optimizer.parameters["lr"] for c in cells if c.optimizer] for cells in (one, many)]
    assert [len(set(values)) for values in found] == [1, 10]
    for a, b in zip(one, many, strict=True):
        first, second = a.to_json(), b.to_json()
        first["optimizer"]["parameters"].pop("lr")
        second["optimizer"]["parameters"].pop("lr")
        assert first == second


def test_the_command_prints_a_ratio_for_every_optimizer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"data": ["digits"], "model": {"mlp": {"hidden": [4]}}, "protocol": {"epochs": 1}}
    monkeypatch.setattr(rates, "SETTINGS", {"tiny": (3, small)})
    monkeypatch.setattr(sys, "argv", ["rates", "--rounds", "1", "--optimizer", "sgd", "adam"])

    rates.main()

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:2] for line in lines[3:]] == [["| tiny", "sgd"], ["| tiny", "adam"]]
    assert all(float(line.split("|")[4].strip(" ×")) > 0 for line in lines[3:])
