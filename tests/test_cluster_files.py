"""The files for clusters: their shell is valid, and what they say is what Ray and recipebench take."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from ray.scripts.scripts import cli as ray_command

from recipebench.benchmarks.cli import app
from recipebench.benchmarks.suite import load_suite

ROOT = Path(__file__).resolve().parent.parent
FILES = ROOT / "docs" / "cluster"
RAY = next(
    line.partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.startswith("ray==")
)


def _slurm() -> str:
    return (FILES / "slurm.sh").read_text()


def _documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FILES / "rayjob.yaml").read_text()))


def _job() -> dict[str, Any]:
    (job,) = (document for document in _documents() if document["kind"] == "RayJob")
    return job


def test_the_script_is_valid_shell() -> None:
    subprocess.run(["bash", "-n", FILES / "slurm.sh"], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", FILES / "slurm.sh"], check=True)


@pytest.mark.parametrize("command", ["start", "health-check"])
def test_the_script_gives_ray_options_that_it_has(command: str) -> None:
    known = {option for p in ray_command.commands[command].params for option in p.opts}
    joined = _slurm().replace("\\\n", " ")

    calls = re.findall(rf"ray {command} (.*?)(?: &|$)", joined, re.MULTILINE)

    given = {word for call in calls for word in re.findall(r"--[a-z-]+", call)}
    assert calls
    assert given <= known


def test_the_driver_of_the_script_is_a_command_that_exists() -> None:
    (call,) = re.findall(r"recipebench run (.*)", _slurm().replace("\\\n", " "))
    known = {option for p in _run().params for option in p.opts}

    assert set(re.findall(r"--[a-z-]+", call)) <= known


def _run() -> Any:
    return typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]


def test_the_job_runs_a_suite_that_ships_on_its_own_cluster() -> None:
    words = shlex.split(_job()["spec"]["entrypoint"])
    assert words[:2] == ["recipebench", "run"]

    given = _run().make_context("run", words[2:]).params

    assert load_suite(given["suite"]).name == "core"
    assert (given["executor"], given["address"]) == ("ray", "auto")
    (mount,) = _container("headGroupSpec")["volumeMounts"]
    assert given["store"].is_relative_to(mount["mountPath"])


def _container(group: str) -> dict[str, Any]:
    spec = _job()["spec"]["rayClusterSpec"][group]
    (container,) = (spec[0] if isinstance(spec, list) else spec)["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def test_the_job_has_the_fields_that_kuberay_asks_for() -> None:
    (claim,) = (document for document in _documents() if document["kind"] == "PersistentVolumeClaim")
    spec = _job()["spec"]["rayClusterSpec"]
    pod = spec["headGroupSpec"]["template"]["spec"]

    assert _job()["apiVersion"] == "ray.io/v1"
    assert set(_job()["spec"]) == {
        *("entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"),
        "rayClusterSpec",
    }
    assert set(spec) == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert all(isinstance(v, str) for v in spec["headGroupSpec"]["rayStartParams"].values())
    (group,) = spec["workerGroupSpecs"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    (volume,) = pod["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert volume["name"] == _container("headGroupSpec")["volumeMounts"][0]["name"]


def test_versions_and_workers_agree() -> None:
    image = (FILES / "Dockerfile").read_text()
    spec = _job()["spec"]["rayClusterSpec"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    (group,) = spec["workerGroupSpecs"]
    cores = int(_container("workerGroupSpecs")["resources"]["limits"]["cpu"])

    assert spec["rayVersion"] == RAY
    assert f"FROM rayproject/ray:{RAY}-py311-cpu" in image
    tag = f"registry.example.org/recipebench:{version}"
    assert {_container(group)["image"] for group in ("headGroupSpec", "workerGroupSpecs")} == {tag}
    assert tag in image
    assert f"--workers {group['replicas'] * cores}" in _job()["spec"]["entrypoint"]
