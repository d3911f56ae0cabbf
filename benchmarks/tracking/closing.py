"""The closing run of a suite: its report, its records as a table, its figures, and an artifact of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import wandb

JOB_TYPE = "suite"

FRAMES = ("records.parquet", "history.parquet")


def described(suite: str, description: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a suite's run is opened with, in the form of `content.described`."""
    return {
        "id": f"suite-{suite}",
        "name": f"suite {suite}",
        "job_type": JOB_TYPE,
        "config": {"suite": suite, "description": description, **config},
    }


def fill(run: wandb.Run, suite: str, out: Path, text: str) -> None:
    """Log table, report, figures and the artifact of a suite.

    Args:
        run: the closing run.
        suite: the suite's name.
        out: its report folder.
        text: the suite's file.
    """
    import wandb

    shown: dict[str, Any] = {
        "records": table(out / FRAMES[0]),
        "report": wandb.Html((out / "index.html").read_text(encoding="utf-8"), inject=False),
    }
    for figure in sorted((out / "figures").glob("*.svg")):
        shown[f"figures/{figure.stem}"] = wandb.Html(figure.read_text(encoding="utf-8"), inject=False)
    run.log(shown)
    artifact = wandb.Artifact(f"{suite}-results", type="results")
    for name in FRAMES:
        artifact.add_file(str(out / name), name=name, policy="immutable")
    with artifact.new_file("suite.yaml", mode="w", encoding="utf-8") as file:
        file.write(text)
    run.log_artifact(artifact)


def table(path: Path) -> wandb.Table:
    """Return records as a table; nulls stay nulls."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
    import wandb

    records = pq.read_table(path)
    return wandb.Table(
        columns=list(records.column_names),
        data=[list(row) for row in zip(*(column.to_pylist() for column in records.columns), strict=True)],
        allow_mixed_types=True,
    )
