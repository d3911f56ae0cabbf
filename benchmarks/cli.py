"""The command `recipebench`: each verb is a thin function whose docstring is its help."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from recipebench.errors import RequestError

GARBAGE = (50_000, 20, 100)
"""How seldom cyclic garbage is looked for: a command makes many objects and little garbage of them."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Which training recipe wins, by how much, and can you trust the answer?",
)

SuiteArgument = Annotated[str, typer.Argument(help="Name of a shipped suite, or path of a YAML file.")]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder that holds records and histories.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Report folder [<store>/reports/<suite>].")]
DataOption = Annotated[Path | None, typer.Option("--data-dir", help="Where data are looked for first.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="Seeds 0 … N-1 in place of the suite's.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Device in place of the suite's.")]
PluginOption = Annotated[
    list[Path] | None, typer.Option("--plugin", help="Python file with levels of your own; may be repeated.")
]
LanguageOption = Annotated[str, typer.Option("--language", help="Language of the report: en, zh.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="Worker processes [one a core].")]


@app.command()
def run(
    suite: SuiteArgument,
    store: StoreOption = Path("runs"),
    out: OutOption = None,
    data_dir: DataOption = None,
    workers: WorkersOption = None,
    pack_size: Annotated[
        int | None, typer.Option("--pack-size", help="Cells in a pack; 1 trains each alone [8 to 64].")
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", help="Where packs are trained: local, ray.")
    ] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Ray cluster to join, HOST:PORT or auto [start one here].")
    ] = None,
    gpus_per_pack: Annotated[
        float, typer.Option("--gpus-per-pack", help="Part of a GPU that a pack takes, such as 0.25.")
    ] = 1.0,
    device: DeviceOption = None,
    seeds: SeedsOption = None,
    skip_unavailable: Annotated[
        bool, typer.Option("--skip-unavailable", help="Leave out devices and data that cannot be had.")
    ] = False,
    mix: Annotated[
        bool, typer.Option("--mix", help="Reuse records of another torch version or class of processor.")
    ] = False,
    plugin: PluginOption = None,
    track: Annotated[
        str | None, typer.Option("--track", help="wandb: every cell a run of W&B; off: none [as in SUITE].")
    ] = None,
    language: LanguageOption = "en",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print cells, packs and an estimate of time; train nothing.")
    ] = False,
) -> None:
    """Train what the store lacks of SUITE, then write the report."""
    from recipebench.benchmarks import verbs

    request = verbs.RunRequest(
        suite=suite,
        store=store,
        out=out,
        data_dir=data_dir,
        workers=workers,
        pack_size=pack_size,
        device=device,
        seeds=seeds,
        skip_unavailable=skip_unavailable,
        mix=mix,
        executor=executor,
        address=address,
        gpus_per_pack=gpus_per_pack,
        plugin=tuple(plugin or ()),
        track=track,
        language=language,
    )
    _finish(lambda: verbs.dry_run(request) if dry_run else verbs.run(request))


@app.command()
def report(
    suite: SuiteArgument,
    store: StoreOption = Path("runs"),
    out: OutOption = None,
    seeds: SeedsOption = None,
    device: DeviceOption = None,
    plugin: PluginOption = None,
    speed: Annotated[
        Path | None, typer.Option("--speed", help="A saved run of the speed suite [the store's newest].")
    ] = None,
    language: LanguageOption = "en",
) -> None:
    """Write the report of SUITE again, from the store."""
    from recipebench.benchmarks import verbs

    _finish(
        lambda: verbs.report(
            suite,
            store,
            out,
            seeds=seeds,
            device=device,
            plugin=plugin or (),
            speed=speed,
            language=language,
        )
    )


@app.command()
def track(
    suite: SuiteArgument,
    store: StoreOption = Path("runs"),
    out: OutOption = None,
    project: Annotated[str | None, typer.Option("--project", help="Project [recipebench].")] = None,
    entity: Annotated[str | None, typer.Option("--entity", help="User or team [the key's owner].")] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="online, offline or shared [offline without a key].")
    ] = None,
    seeds: SeedsOption = None,
    device: DeviceOption = None,
    plugin: PluginOption = None,
) -> None:
    """Write the runs of SUITE to Weights & Biases from the store, each once."""
    from recipebench.benchmarks import verbs

    given = {"project": project, "entity": entity, "mode": mode}
    how = {name: value for name, value in given.items() if value is not None}
    _finish(lambda: verbs.track(suite, store, out, how=how, seeds=seeds, device=device, plugin=plugin or ()))


@app.command()
def sweep(
    suite: SuiteArgument,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("sweep.yaml"),
    store: StoreOption = Path("runs"),
    method: Annotated[str, typer.Option("--method", help="grid, random or bayes.")] = "grid",
    plugin: PluginOption = None,
) -> None:
    """Write a file by which a W&B sweep drives the cells of SUITE."""
    from recipebench.benchmarks import verbs

    verbs.sweep(suite, store, out, method, plugin or ())


@app.command()
def agent(
    suite: SuiteArgument,
    choose: Annotated[str, typer.Option("--choose", help="What the sweep has chosen, as JSON.")],
    store: StoreOption = Path("runs"),
    data_dir: DataOption = None,
    plugin: PluginOption = None,
) -> None:
    """Train the one cell that a W&B sweep has chosen; its agent calls this."""
    from recipebench.benchmarks import verbs

    _finish(lambda: verbs.agent(suite, choose, store, data_dir, plugin or ()))


@app.command(name="list")
def list_levels(
    what: Annotated[str | None, typer.Argument(help="A factor, data, models or suites [all].")] = None,
    plugin: PluginOption = None,
) -> None:
    """List every level with its summary, defaults and source."""
    from recipebench.benchmarks import verbs

    verbs.list_levels(what, plugin or ())


@app.command()
def check(
    plugin: Annotated[list[Path], typer.Option("--plugin", help="Python file with levels of your own.")],
) -> None:
    """Hold the levels of a plug-in against what every level has to be; exit with 1 where one is not."""
    from recipebench.benchmarks import verbs

    _finish(lambda: verbs.check(plugin))


@app.command()
def show(
    cell: Annotated[str, typer.Argument(help="Id of a cell, or the beginning of one.")],
    store: StoreOption = Path("runs"),
) -> None:
    """Show one cell: recipe, numbers, curve, provenance, and the command that repeats it."""
    from recipebench.benchmarks import verbs

    verbs.show(cell, store)


@app.command()
def export(
    cell: Annotated[str, typer.Argument(help="Id of a cell, or the beginning of one.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write, *.safetensors.")],
    store: StoreOption = Path("runs"),
    data_dir: DataOption = None,
    at: Annotated[str, typer.Option("--at", help="start, end or best: which weights.")] = "end",
    plugin: PluginOption = None,
) -> None:
    """Write the weights of one cell, trained again, under the plain module's names."""
    from recipebench.benchmarks import verbs

    def work() -> int:
        verbs.export(cell, store, data_dir, out, at, plugin or ())
        typer.echo(f"Weights: {out}")
        return 0

    _finish(work)


@app.command()
def verify(
    suite: SuiteArgument = "quick",
    store: StoreOption = Path("runs"),
    sample: Annotated[str, typer.Option("--sample", help="Share (1%) or number of cells.")] = "1%",
    data_dir: DataOption = None,
    workers: WorkersOption = None,
    plugin: PluginOption = None,
) -> None:
    """Train a sample of the store's cells again, each alone, and compare the bits."""
    from recipebench.benchmarks import verbs

    _finish(lambda: verbs.verify(suite, store, sample, data_dir, workers, plugin or ()))


@app.command()
def compare(
    store_a: Annotated[Path, typer.Argument(help="A store.")],
    store_b: Annotated[Path, typer.Argument(help="Another store.")],
    suite: Annotated[str | None, typer.Option("--suite", help="Only the cells of this suite.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for page, summary and CSV.")] = None,
    plugin: PluginOption = None,
) -> None:
    """Compare two stores cell by cell: what changed, by how much; exit with 1 where something matters."""
    from recipebench.benchmarks import verbs

    _finish(lambda: verbs.compare(store_a, store_b, suite, out, plugin or ()))


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("suite.yaml"),
) -> None:
    """Write a commented suite to start from."""
    from recipebench.benchmarks import verbs

    verbs.init(path)


@app.command()
def schema() -> None:
    """Print the JSON schema of suites, for editors."""
    import json

    from recipebench.benchmarks.suite import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))


@app.command()
def doctor(data_dir: DataOption = None, store: StoreOption = Path("runs")) -> None:
    """Tell what this machine has: versions, devices, data sets."""
    from recipebench.benchmarks import verbs

    verbs.doctor(data_dir, store)


@app.callback(invoke_without_command=True)
def version(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True)
    ] = False,
) -> None:
    """Print the version when asked."""
    if show_version:
        from recipebench import __version__

        typer.echo(__version__)
        raise typer.Exit


def _finish(work: Callable[[], int]) -> NoReturn:
    """Exit with what the work returns, with 1 when no worker can do it, with 130 when it is interrupted."""
    from recipebench.benchmarks.executor import WorkerError

    try:
        code = work()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # once more would only spoil the way out
        typer.echo("Interrupted. What is finished is kept; the same command goes on from there.", err=True)
        code = 130
    except WorkerError as error:
        typer.echo(f"Error: {error}", err=True)
        code = 1
    raise typer.Exit(code)


def main() -> NoReturn:
    """Run the command and exit: 0 done, 1 cells failed or are missing, 2 wrong request, 130 Ctrl-C."""
    from recipebench.benchmarks.store_files import StoreError

    gc.set_threshold(*GARBAGE)
    try:
        app()
    except RequestError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except StoreError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
    sys.exit(0)
