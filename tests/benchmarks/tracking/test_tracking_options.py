"""What is tracked where: the key `track`, the option, the environment; and what bad ones are told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from recipebench.benchmarks.suite import json_schema, load_suite
from recipebench.benchmarks.tracking.client import find_key, prepare
from recipebench.benchmarks.tracking.ledger import Entry, Ledger
from recipebench.benchmarks.tracking.options import tracked
from recipebench.benchmarks.tracking.state import state
from recipebench.benchmarks.tracking.target import MODES, Tracking, settle
from recipebench.errors import RequestError

SUITE: dict[str, Any] = {"name": "x", "data": ["digits"], "matrix": {"optimizer": ["adam"]}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("wandb", Tracking()),
        ({"wandb": None}, Tracking()),
        (
            {"wandb": {"project": "p", "entity": "e", "mode": "shared"}},
            Tracking(project="p", entity="e", mode="shared"),
        ),
    ],
)
def test_a_suite_says_where_its_runs_go(given: object, expected: Tracking) -> None:
    assert load_suite({**SUITE, "track": given}).track == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("wandbb", "suite: track: Unknown tracker 'wandbb'. Known: wandb. Did you mean 'wandb'?"),
        ({"mlflow": {}}, "suite: track.mlflow: Unknown tracker 'mlflow'. Known: wandb."),
        ({"wandb": {"projekt": "p"}}, "track.wandb.projekt: Unknown key 'projekt'."),
        ({"wandb": {"mode": "onlin"}}, "track.wandb.mode: Unknown mode 'onlin'."),
        (
            {"wandb": {"project": "a/b"}},
            "track.wandb.project: expected 1 to 128 characters without spaces and",
        ),
        ({"wandb": {"entity": 3}}, "track.wandb.entity: expected 1 to 128 characters"),
        ({"wandb": "p"}, "track.wandb: expected project, entity and mode, got 'p'."),
        (["wandb"], "track: expected wandb, or wandb with project, entity and mode"),
    ],
)
def test_a_wrong_track_key_is_refused(given: object, message: str) -> None:
    with pytest.raises(RequestError) as refused:
        load_suite({**SUITE, "track": given})

    assert message in str(refused.value)


def test_the_schema_knows_the_key() -> None:
    described = str(json_schema()["properties"]["track"])

    assert all(mode in described for mode in MODES)


def test_the_command_decides_over_the_suite() -> None:
    own = Tracking(project="p")

    assert tracked(None, None) is None
    assert tracked(None, own) == tracked("wandb", own) == own
    assert tracked("wandb", None) == Tracking()
    assert tracked("off", own) is None
    assert tracked({"wandb": {"mode": "disabled"}}, own) is None
    with pytest.raises(RequestError, match="--track: Unknown tracker 'wandv'"):
        tracked("wandv", own)


def test_the_mode_follows_from_what_is_asked_and_whether_there_is_a_key() -> None:
    variables = {"WANDB_MODE": "offline", "WANDB_PROJECT": "theirs", "WANDB_ENTITY": "team"}

    found = settle(Tracking(), variables, can_log_in=True)
    assert (found.mode, found.project, found.entity, found.name) == (
        "offline",
        "theirs",
        "team",
        "team/theirs",
    )
    assert settle(Tracking(mode="online", project="own"), variables, can_log_in=True).mode == "online"
    assert settle(Tracking(project="own"), variables, can_log_in=True).project == "own"
    assert settle(Tracking(), {"WANDB_MODE": "nonsense"}, can_log_in=True).mode == "online"
    without = settle(Tracking(mode="online"), {}, can_log_in=False)
    assert (without.mode, without.project) == ("offline", "recipebench")
    assert "no API key" in without.note


def test_the_environment_of_the_tracking_process_holds_no_key_and_no_other_run(tmp_path: Path) -> None:
    variables = {
        "WANDB_API_KEY": "secret",
        "WANDB_RUN_ID": "other",
        "WANDB_BASE_URL": "http://here",
        "PATH": os.defpath,
    }

    assert prepare(tmp_path, variables) == "secret"
    assert "secret" not in variables.values()
    assert "WANDB_RUN_ID" not in variables
    assert variables["WANDB_BASE_URL"] == "http://here"
    assert variables["WANDB_ERROR_REPORTING"] == "false"
    assert variables["WANDB_CACHE_DIR"].startswith(str(tmp_path))


def test_a_key_is_found_in_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine api.example.org login user password from-netrc\n")
    file.chmod(0o600)
    monkeypatch.setenv("NETRC", str(file))

    assert find_key(None, "https://api.example.org:8080/x") == "from-netrc"
    assert find_key("given", "https://api.example.org") == "given"
    assert find_key(None, "https://other.example.org") is None
    file.write_text("machine\n")
    assert find_key(None, "https://api.example.org") is None


def test_the_state_tells_of_key_and_waiting_runs_and_shows_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    folder = tmp_path / "tracking" / "wandb" / "offline-run-1-x"
    folder.mkdir(parents=True)
    Ledger(tmp_path / "tracking").add(Entry("x", "t", "v", "wandb/offline-run-1-x"))

    with_key = state(tmp_path, {"WANDB_API_KEY": "secret", "WANDB_BASE_URL": "http://here"})

    assert f"a key for http://here, 1 runs of {tmp_path} wait" in with_key
    assert "secret" not in with_key
    assert "no key, so runs are kept offline for https://api.wandb.ai" in state(tmp_path, {})


def test_the_ledger_replaces_what_was_not_uploaded_and_keeps_what_was(tmp_path: Path) -> None:
    folders = [tmp_path / "wandb" / f"offline-run-{i}-x" for i in range(4)]
    for folder in folders:
        folder.mkdir(parents=True)
    (folders[1] / "run-x.wandb.synced").touch()
    ledger = Ledger(tmp_path)
    for i in range(3):
        ledger.add(Entry("x", "t", f"v{i}", f"wandb/{folders[i].name}"))
    again = Ledger(tmp_path)

    assert [folder.exists() for folder in folders] == [False, True, True, True]
    assert again.has("t", "x", "v2")
    assert not again.has("t", "x", "v1")
    assert not again.has("other", "x", "v2")
    assert again.waiting() == [folders[2]]
    again.clean()  # what no entry names was interrupted
    assert [folder.exists() for folder in folders] == [False, True, True, False]
