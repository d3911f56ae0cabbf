"""The command of the speed suite: run it, show a saved run, compare two."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from recipebench import plugins
from recipebench.benchmarks.store_files import StoreError
from recipebench.errors import RequestError
from recipebench.reports import export, speed, speed_views


def main(words: Sequence[str] | None = None) -> int:
    """Do what is asked; return 0, 1 where a case failed, 2 for a wrong request, 130 after Ctrl-C.

    Args:
        words: the arguments; those of the process by default.
    """
    given = list(sys.argv[1:] if words is None else words)
    verb = _VERBS.get(given[0] if given else "")
    try:
        return verb(given[1:]) if verb else _run(given)
    except RequestError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except StoreError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Nothing was saved.", file=sys.stderr)
        return 130


def _run(words: Sequence[str]) -> int:
    """Time every level of every factor, loaders and packs, and save the times."""
    parser = argparse.ArgumentParser(
        prog="python -m recipebench.benchmarks.speed",
        description=_run.__doc__,
        epilog="Further: show FILE, compare FILE FILE. The ladder and other measurements: speed.packs, "
        "speed.batch_sizes, speed.rates.",
    )
    parser.add_argument("--store", type=Path, default=Path("runs"), help="save in its folder speed")
    parser.add_argument("--out", type=Path, help="save as this file instead")
    parser.add_argument("--device", action="append", default=[], help="cpu or cuda; all that are there")
    parser.add_argument("--passes", type=int, default=6, help="over all cases; 6 or more for intervals")
    parser.add_argument("--seconds", type=float, default=0.05, help="for each case in each pass")
    parser.add_argument("--only", default="", help="a part of the names of the cases, as activation-relu")
    parser.add_argument("--plugin", type=Path, action="append", default=[], help="levels of your own")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and time nothing")
    options = parser.parse_args(words)
    for path in options.plugin:
        plugins.load(path)
    from recipebench.benchmarks.speed import cases, runner

    settings = runner.Settings(
        devices=tuple(dict.fromkeys(options.device)),
        passes=options.passes,
        seconds=options.seconds,
        only=options.only,
    )
    settings.check()
    if options.list:
        print("\n".join(case.id for case in cases.cases(settings.devices or cases.devices(), settings.only)))
        return 0
    path, failed = runner.run(settings, store=options.store, out=options.out)
    _print(speed_views.section(speed.load(path)))
    print(f"Saved: {path}")
    return 1 if failed else 0


def _show(words: Sequence[str]) -> int:
    """Print a saved run."""
    parser = argparse.ArgumentParser(
        prog="python -m recipebench.benchmarks.speed show", description=_show.__doc__
    )
    parser.add_argument("file", type=Path)
    _print(speed_views.section(speed.load(parser.parse_args(words).file)))
    return 0


def _compare(words: Sequence[str]) -> int:
    """Print how many times as long everything took in the second run as in the first."""
    parser = argparse.ArgumentParser(
        prog="python -m recipebench.benchmarks.speed compare", description=_compare.__doc__
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args(words)
    _print(speed_views.comparison(speed.load(options.first), speed.load(options.second)))
    return 0


_VERBS: dict[str, Callable[[Sequence[str]], int]] = {"show": _show, "compare": _compare}


def _print(section: speed_views.Section) -> None:
    print("\n\n".join(section.sentences))
    for heading, view in section.views:
        print(f"\n## {heading}\n\n{export.markdown(view)}", end="")
