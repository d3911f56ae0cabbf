"""The command: verbs, options, messages and exit codes, as people meet them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import recipebench as rb
from recipebench.benchmarks import estimate, executor, verbs
from recipebench.benchmarks.packs import plan
from recipebench.benchmarks.store import Store, StoreError
from recipebench.benchmarks.suite import load_suite
from recipebench.benchmarks.verbs import sparkline
from recipebench.datamodules import fetch

CLOSING = "planned 12 = ok 8 + diverged 4 + failed 0 + missing 0"


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every attempt to start a worker an error."""
    monkeypatch.setattr(executor, "COMMAND", ("/nowhere/worker",))


def suite_file(folder: Path, **changes: Any) -> Path:
    given = {
        "name": "small",
        "data": [{"synthetic_regression": {"n": 60}}],
        "matrix": {"model": ["linear_regression"], "optimizer": ["sgd", "adam"]},
        "seeds": 2,
        "protocol": {"epochs": 1, "batch_size": 10},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**given, **changes}))
    return path


# run ----------------------------------------------------------------------------------------------


def test_run_trains_reports_and_says_where(command: Any, tmp_path: Path) -> None:
    outcome = command("run", suite_file(tmp_path), "--workers", 1)

    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == "small: 4 cells planned, 0 in the store, 4 to train."
    assert lines[-3].startswith("4 of 4 cells, ")  # on a slow machine, lines of progress before it
    assert lines[-2:] == [
        "planned 4 = ok 4 + diverged 0 + failed 0 + missing 0",
        "Report: runs/reports/small/index.html",
    ]
    assert Path("runs/reports/small/index.html").is_file()


def test_a_complete_store_is_not_trained_again(
    trained: Any, command: Any, no_training: None, tmp_path: Path
) -> None:
    outcome = command("run", trained.file, "--store", trained.store, "--out", tmp_path / "out")

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "example: 12 cells planned, 12 in the store, 0 to train.",
        CLOSING,
        f"Report: {tmp_path}/out/index.html",
    ]


def test_failed_cells_end_with_1_and_one_line_each(
    command: Any, worker_script: Callable[[str], None], tmp_path: Path
) -> None:
    worker_script(
        "print('a library babbles', file=sys.stderr)\nraise ValueError('no [1, 8] luck\\n\\ntoday')"
    )
    suite = suite_file(tmp_path, seeds=1, matrix={"model": ["linear_regression"]})

    outcome = command("run", suite, "--workers", 1)

    assert (outcome.code, outcome.err) == (1, "")
    (cell_id,) = Store("runs").statuses()
    assert f"{cell_id}: ValueError: no [1, 8] luck today; given up" in outcome.out.splitlines()
    assert "planned 1 = ok 0 + diverged 0 + failed 1 + missing 0" in outcome.out
    assert "babbles" not in outcome.out
    shown = command("show", cell_id)
    assert "Traceback (most recent call last):" in shown.out
    assert "ValueError: no [1, 8] luck" in shown.out
    assert command("export", cell_id, "--out", "w.safetensors").err == (
        f"Error: {cell_id} has no weights: it failed, ValueError: no [1, 8] luck today.\n"
    )


def test_a_device_that_is_not_here_gives_missing_rows(
    command: Any, no_training: None, tmp_path: Path
) -> None:
    outcome = command("run", suite_file(tmp_path), "--device", "gpu", "--out", "report")

    assert (outcome.code, outcome.err) == (1, "")
    assert "small: 4 cells planned, 0 in the store, 0 to train, 4 not possible here." in outcome.out
    assert "planned 4 = ok 0 + diverged 0 + failed 0 + missing 4" in outcome.out
    records = rb.load("runs", load_suite(suite_file(tmp_path)).replaced(device="gpu")).records
    assert set(records["reason"]) == {
        "device gpu is not available: no graphics processor is found here (nvidia-smi lists none)"
    }
    assert "device gpu is not available" in Path("report/records.csv").read_text()


def test_skip_unavailable_leaves_out_and_says_so(
    trained: Any, command: Any, no_training: None, tmp_path: Path
) -> None:
    suite = tmp_path / "both.yaml"
    suite.write_text(yaml.safe_dump({**trained.suite, "device": ["cpu", "gpu"]}))

    outcome = command("run", suite, "--store", trained.store, "--skip-unavailable", "--out", "out")

    assert outcome.code == 0
    assert outcome.out.splitlines()[0] == (
        "Left out: device gpu is not available: no graphics processor is found here (nvidia-smi lists none)"
    )
    assert CLOSING in outcome.out


def test_seeds_and_device_replace_those_of_the_suite(command: Any, tmp_path: Path) -> None:
    outcome = command("run", suite_file(tmp_path), "--seeds", 3, "--device", "cpu", "--dry-run")

    assert outcome.out.startswith("small: 6 cells planned, 0 in the store, 6 to train.\n")


# run --dry-run ------------------------------------------------------------------------------------


def test_core_plans_every_cell_in_a_pack_and_writes_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "recipebench", "run", "core", "--dry-run", "--workers", "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "core: 3000 cells planned, 0 in the store, 3000 to train."
    table = [line.split() for line in lines if line.split()[-2:] in (["5", "128"], ["20", "10"])]
    assert len(table) == 12
    assert sum(int(row[1]) for row in table) == 3000
    packs = sum(int(row[0]) for row in table)
    assert f"3000 cells in {packs} packs, 0 alone." in lines
    assert lines[-1].startswith("About ")
    assert os.listdir(tmp_path) == []


def test_a_dry_run_tells_what_would_be_downloaded(
    command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RECIPEBENCH_DATA", raising=False)
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")
    suite = suite_file(tmp_path, data=["mnist"], matrix={"optimizer": ["sgd"]})

    outcome = command("run", suite, "--dry-run")

    assert outcome.code == 0
    assert "mnist: a run downloads MNIST/raw/train-images-idx3-ubyte.gz, " in outcome.out
    assert not (tmp_path / "cache").exists()


def test_a_dry_run_tells_the_power_of_claims_and_a_run_judges_them(command: Any, tmp_path: Path) -> None:
    suite = suite_file(
        tmp_path,
        model={"mlp": {"hidden": [4]}},
        matrix={"activation": ["relu", "sigmoid"]},
        seeds=2,
        smallest_effect={"synthetic_regression": 0.01},
        claims=[{"better": {"activation": "relu"}, "than": {"activation": "sigmoid"}}],
    )

    before = command("run", suite, "--dry-run", "--store", tmp_path / "runs")
    run = command("run", suite, "--store", tmp_path / "runs")
    again = command("run", suite, "--dry-run", "--store", tmp_path / "runs")

    told = "Power of the registered claims to tell one smallest effect from none (adjusted 95 % intervals, "
    assert f"{told}2 seeds a data set):\n  0." in before.out
    assert "relu > sigmoid (assumed: blocks spread by 1 smallest effect)" in before.out
    assert told in run.out
    assert "relu > sigmoid (spread of 2 blocks in the store)" in again.out
    page = next((tmp_path / "runs").rglob("index.html")).read_text(encoding="utf-8")
    assert "1 claim was registered in the suite" in page


def test_the_estimate_grows_with_the_work_and_shrinks_with_workers(
    monkeypatch: pytest.MonkeyPatch, trained: Any
) -> None:
    monkeypatch.setattr(estimate, "product_rate", lambda: 1e11)
    packed, alone = plan(trained.cells, 3), plan(trained.cells, 1)

    seconds = estimate.estimate_seconds(packed, 1)

    assert 0 < seconds < estimate.estimate_seconds(alone, 1)
    assert estimate.estimate_seconds(packed, 2) == pytest.approx(seconds / 2)
    assert estimate.estimate_seconds(packed[:1], 8) == estimate.estimate_seconds(packed[:1], 1)
    assert estimate.estimate_seconds([], 2) == 0


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quik"], "Error: Unknown suite 'quik'. Known: activations, "),
        (["run", "./none.yaml"], "none.yaml"),
        (
            ["run", "quick", "--workers", "0"],
            "Error: workers: expected a whole number of at least 1, got 0.\n",
        ),
        (
            ["run", "quick", "--pack-size", "0"],
            "Error: pack_size: expected a whole number of at least 1, got 0.\n",
        ),
        (
            ["run", "quick", "--pack-size", "-3"],
            "Error: pack_size: expected a whole number of at least 1, got -3.\n",
        ),
        (["run", "quick", "--workers", "many"], "Invalid value for '--workers'"),
        (["run", "quick", "--seeds", "0"], "seeds: "),
        (["run", "quick", "--device", "tpu"], "device: "),
        (
            ["run", "quick", "--executor", "rai"],
            "Error: Unknown executor 'rai'. Known: local, ray. Did you mean 'ray'?\n",
        ),
        (["run", "quick", "--data-dir", "nowhere"], "data_dir: expected an existing folder, got 'nowhere'"),
        (["run", "quick", "--out", "file/report"], "Error: --out: expected a folder, but file is a file.\n"),
        (["run", "quick", "--out", "file"], "Error: --out: expected a folder, but file is a file.\n"),
        (["run", "quick", "--out", "x" * 300], "is not a possible path"),
        (["run", "quick", "--store", "file"], "Error: The store file is a file; expected a folder.\n"),
        (["run", "quick", "--store", "."], "is not a store: it has no store.json"),
        (["run", "quick", "--sedes", "3"], "No such option: --sedes (Possible options: --address, --seeds)"),
        (["run"], "Missing argument"),
        (["rnu", "quick"], "No such command 'rnu'. Did you mean 'run'?"),
        (["list", "optimizers"], "Unknown list 'optimizers'."),
        (["report", "quick"], "Error: Expected a store at runs, found none."),
        (["show", "0"], "Error: Expected a store at runs, found none."),
        (["verify"], "Error: Expected a store at runs, found none."),
        (["init", "file"], "Error: file exists already; choose another name.\n"),
        (
            ["init", "nowhere/suite.yaml"],
            "Error: nowhere/suite.yaml cannot be written: No such file or directory.\n",
        ),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_wrong_request_is_refused_and_nothing_is_trained_or_written(
    arguments: list[str], message: str, command: Any, no_training: None
) -> None:
    Path("file").write_text("mine")
    if "--data-dir" in arguments:
        arguments = [
            *arguments[:1],
            str(suite_file(Path.cwd().parent, data=["mnist"], matrix={"optimizer": ["sgd"]})),
            *arguments[2:],
        ]

    outcome = command(*arguments)

    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    assert os.listdir() == ["file"]
    assert Path("file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(command: Any, no_training: None) -> None:
    Path("closed").mkdir(mode=0o500)

    for option in ("--out", "--store"):
        outcome = command("run", "quick", option, "closed/new")

        assert (outcome.code, os.listdir("closed")) == (2, [])
        assert "closed" in outcome.err


def test_a_folder_that_may_not_be_written_is_refused(
    command: Any, no_training: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    outcome = command("run", "quick", "--out", "closed/new")

    assert (outcome.code, os.listdir()) == (2, [])
    assert (
        outcome.err == "Error: --out: closed/new cannot be written; choose a folder that you can write to.\n"
    )


def test_a_store_in_use_is_refused(trained: Any, command: Any, no_training: None) -> None:
    with Store(trained.store).lock():
        outcome = command("run", trained.file, "--store", trained.store)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: The store {trained.store} is in use by ")
    assert "Wait until it is done, or choose another store." in outcome.err


def test_a_disk_that_fails_under_the_report_is_one_error(
    trained: Any, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recipebench.reports.writer.write", write)
    monkeypatch.setattr("recipebench.benchmarks.reporting.reports.write", write, raising=False)

    outcome = command("report", trained.file, "--store", trained.store, "--out", "out")

    assert outcome.code == 1
    assert outcome.err == (
        "Error: Could not write the report to out: No space left on device. "
        "What was committed before is intact; free some disk space, then run the same command again.\n"
    )


def test_workers_that_do_not_start_are_one_error(command: Any, no_training: None, tmp_path: Path) -> None:
    outcome = command("run", suite_file(tmp_path), "--workers", 1)

    assert outcome.code == 1
    assert outcome.err.startswith("Error: Workers do not start: worker lost: FileNotFoundError: ")
    assert "Traceback" not in outcome.err
    assert Store("runs").statuses() == {}


def test_a_disk_that_fails_under_the_store_is_one_error(
    command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, children: Callable[[int], set[int]]
) -> None:
    def write(*arguments: object) -> None:
        raise StoreError("Could not write 2 finished cells.")

    monkeypatch.setattr(Store, "write", write)

    outcome = command("run", suite_file(tmp_path, seeds=1), "--workers", 1)

    assert (outcome.code, outcome.err) == (1, "Error: Could not write 2 finished cells.\n")
    assert children(os.getpid()) == set()


def test_ctrl_c_anywhere_ends_with_130(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[object] = []

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.append((number, handler)))
    monkeypatch.setattr(verbs, "run", interrupt)
    monkeypatch.setattr(verbs, "list_levels", interrupt)

    assert command("list").code == 130
    outcome = command("run", "quick")

    assert outcome.code == 130
    assert outcome.err == "Interrupted. What is finished is kept; the same command goes on from there.\n"
    assert handlers == [(signal.SIGINT, signal.SIG_IGN)]


# The other verbs ----------------------------------------------------------------------------------


def test_report_writes_the_page_again(trained: Any, command: Any) -> None:
    outcome = command("report", trained.file, "--store", trained.store, "--out", "out")

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == f"{CLOSING}\nReport: out/index.html\n"
    assert Path("out/index.html").is_file()


def test_report_of_missing_cells_ends_with_1(trained: Any, command: Any) -> None:
    outcome = command("report", trained.file, "--store", trained.store, "--out", "out", "--seeds", 2)

    assert outcome.code == 1
    assert "planned 24 = ok 8 + diverged 4 + failed 0 + missing 12" in outcome.out


def test_a_report_says_what_of_its_store_is_damaged(trained: Any, command: Any, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(trained.store, damaged)
    shard = next(damaged.glob("shards/*.records.parquet"))
    shard.write_bytes(shard.read_bytes()[:100])

    outcome = command("report", trained.file, "--store", damaged, "--out", "out")

    assert outcome.code == 1
    assert outcome.err.startswith(f"Shard {shard.name.partition('.')[0]} ")
    assert outcome.err.count("its cells are not done; the next run sets it aside.") == 1


def test_the_report_repeats_the_command_of_a_file(trained: Any, command: Any) -> None:
    command("report", trained.file, "--store", trained.store, "--out", "out")

    assert f"recipebench run {trained.file}" in Path("out/index.html").read_text(encoding="utf-8")


def test_list_tells_every_level_with_source_and_default(command: Any) -> None:
    outcome = command("list")

    assert (outcome.code, outcome.err) == (0, "")
    for text in (
        "maxout",
        "xavier",
        "early_stopping",
        "rmsprop",
        "mlp",
        "fashion_mnist",
        "quick",
        "1200 cells",
    ):
        assert text in outcome.out
    optimizers = command("list", "optimizer").out
    assert "Kingma and Ba 2015" in optimizers
    assert "lr 0.001, beta1 0.9" in optimizers
    assert "maxout" not in optimizers


def test_show_tells_all_about_a_cell(trained: Any, command: Any) -> None:
    cell = trained.cell(data="digits", optimizer="adam", regularizer="none")

    outcome = command("show", cell.id[:10], "--store", trained.store)

    assert (outcome.code, outcome.err) == (0, "")
    for text in (
        cell.id,
        "optimizer.lr",
        "0.001",
        "test_accuracy_at_best",
        "validation_loss",
        "trained on",
        "torch 2",
    ):
        assert text in outcome.out
    assert any(bar in outcome.out for bar in "▂▃▄▅▆▇")
    assert f"recipebench export {cell.id} --store {trained.store}" in outcome.out
    assert '"data_sha256"' not in outcome.out


def test_show_tells_of_a_diverged_cell(trained: Any, command: Any) -> None:
    outcome = command("show", trained.cell(data="digits", optimizer="sgd").id, "--store", trained.store)

    assert outcome.code == 0
    assert "step 2" in outcome.out


def test_an_ambiguous_or_unknown_prefix_is_refused(
    trained: Any, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sorted(cell.id for cell in trained.cells)
    monkeypatch.setattr(Store, "statuses", lambda self: dict.fromkeys(["ab" + i[2:] for i in ids], "ok"))

    ambiguous = command("show", "ab", "--store", trained.store)
    unknown = command("show", "cd", "--store", trained.store)

    assert (ambiguous.code, unknown.code) == (2, 2)
    assert "whose id begins with 'ab'; 12 do (ab" in ambiguous.err
    assert "whose id begins with 'cd'; none does." in unknown.err


def test_export_writes_weights(trained: Any, command: Any) -> None:
    cell = trained.cell(data="digits", optimizer="adam")

    outcome = command("export", cell.id, "--store", trained.store, "--out", "w.safetensors", "--at", "start")

    assert (outcome.code, outcome.out, outcome.err) == (0, "Weights: w.safetensors\n", "")
    assert Path("w.safetensors").stat().st_size > 4 * (64 * 8 + 8 + 8 * 10 + 10)


def test_init_writes_a_suite_that_can_be_run(command: Any) -> None:
    written = command("init")
    planned = command("run", "./suite.yaml", "--dry-run")

    assert (written.code, planned.code) == (0, 0)
    assert written.out == "Suite: suite.yaml. Next: recipebench run ./suite.yaml --dry-run\n"
    assert planned.out.startswith("my_suite: ")
    assert os.listdir() == ["suite.yaml"]


def test_schema_is_json_that_knows_the_levels(command: Any) -> None:
    outcome = command("schema")

    assert outcome.code == 0
    assert json.loads(outcome.out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert '"early_stopping"' in outcome.out


def test_doctor_tells_what_is_here(
    trained: Any, command: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RECIPEBENCH_DATA", raising=False)
    monkeypatch.setattr(fetch, "cache_folder", lambda: tmp_path / "cache")

    outcome = command("doctor", "--store", trained.store)

    assert (outcome.code, outcome.err) == (0, "")
    told = dict(line.split(": ", 1) for line in outcome.out.splitlines())
    assert told["Python"] == sys.version.split()[0]
    assert "torch 2" in told["packages"]
    assert told["store"] == f"{trained.store}: 12 finished cells"
    assert told["data digits"] == "built in"
    assert told["data mnist"].startswith("missing MNIST/raw/train-images-idx3-ubyte.gz, ")
    assert "GPUs" in told


def test_doctor_says_what_is_wrong_with_a_store(command: Any) -> None:
    Path("file").write_text("")

    outcome = command("doctor", "--store", "file")

    assert outcome.code == 0
    assert "store: The store file is a file; expected a folder." in outcome.out


def test_version(command: Any) -> None:
    assert command("--version").out == f"{rb.__version__}\n"


VERBS = ("run", "report", "list", "show", "export", "verify", "init", "schema", "doctor")


def test_help_names_every_verb_and_loads_no_torch(tmp_path: Path) -> None:
    code = """
import sys
from recipebench.benchmarks.cli import main
for arguments in (["--help"], ["run", "--help"], ["list"], ["list", "suites"], ["doctor"]):
    sys.argv = ["recipebench", *arguments]
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 0, arguments
    assert not {"torch", "pytorch_lightning"} & set(sys.modules), arguments
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert (done.returncode, done.stderr) == (0, "")
    for verb in VERBS:
        assert f"  {verb} " in done.stdout
    for option in (
        "--store",
        "--out",
        "--data-dir",
        "--workers",
        "--pack-size",
        "--executor",
        "--device",
        "--seeds",
    ):
        assert option in done.stdout
    for option in ("--skip-unavailable", "--mix", "--dry-run"):
        assert option in done.stdout


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0, 0.5], "▁█▅"),
        ([1.0, 1.0], "▁▁"),
        ([0.0, float("nan"), 1.0, float("inf")], "▁?█?"),
        ([float("nan")], "?"),
        ([], ""),
    ],
)
def test_a_sparkline_copes_with_any_curve(values: list[float], expected: str) -> None:
    assert sparkline(values) == expected
