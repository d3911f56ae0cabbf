"""Packs on a graphics processor against the same cells alone, against JAX, and against what it could do.

`python -m recipebench.benchmarks.speed.gpu --json docs/gpu.json` measures everything, or, with `--part`, some
of it: `packs` (the part of `core` on MNIST), `alone` (cells of it one by one in plain Lightning), `jax` (one
ensemble under `vmap`), `core` (all of it, into a store), `floor` (how fast the device multiplies and copies)
and `tolerance` (packed against alone). Each part is written to the file as soon as it is done, beside those
that are there, so that a measurement can be taken in pieces. `--tiny --device cpu` tries everything out.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from recipebench.benchmarks.environment import gpu_names, package_versions
from recipebench.benchmarks.speed.gpu_cells import FULL, TINY
from recipebench.benchmarks.speed.gpu_parts import PARTS, Request
from recipebench.benchmarks.store_files import write_files
from recipebench.datamodules.catalog import DATA
from recipebench.datamodules.fetch import ensure
from recipebench.errors import RequestError

GOAL = 100
"""Packs over cells alone, in cells a minute, that we aim at."""

GOAL_CORE = 90
"""Seconds for the whole of `core` that we aim at."""


def conditions(request: Request) -> dict[str, Any]:
    """Return device, versions and size, to stand beside every part."""
    names = ("torch", "pytorch-lightning", "recipebench")
    versions = {name: version for name, version in package_versions().items() if name in names}
    return {
        "device": torch.cuda.get_device_name() if request.device == "cuda" else "cpu",
        "driver": "; ".join(gpu_names()) if request.device == "cuda" else "",
        "cuda": torch.version.cuda if request.device == "cuda" else None,
        "python": platform.python_version(),
        "versions": versions,
        "tiny": request.size == TINY,
        "pack size": request.pack_size,
    }


def measure(parts: Sequence[str], request: Request, path: Path | None) -> dict[str, Any]:
    """Measure parts within the seconds of the request; write the file after each, and return what it holds.

    Args:
        parts: names of `PARTS`.
        request: for all of them; a part may take what those before it have left.
        path: of the file; what it holds already stays, but for parts that are measured anew.
    """
    found: dict[str, Any] = json.loads(path.read_text()) if path and path.exists() else {"parts": {}}
    end = time.monotonic() + request.seconds
    for i, name in enumerate(parts):
        left = max(0.0, end - time.monotonic()) / (len(parts) - i)
        own = _request_for(name, request, left, found)
        began = time.monotonic()
        result = PARTS[name](own)
        took = time.monotonic() - began
        found["parts"][name] = {"conditions": conditions(own), "seconds taken": took, **result}
        if path:
            write_files({path: (json.dumps(found, indent=1) + "\n").encode()})
        print(f"{name}: {took:.0f} s", file=sys.stderr, flush=True)
    return found


def _request_for(name: str, request: Request, seconds: float, found: Mapping[str, Any]) -> Request:
    """Give a part its seconds; the whole of `core` also the workers and graphs that were fastest before."""
    rows = found["parts"].get("packs", {}).get("rows", [])
    if name != "core" or not rows:
        return replace(request, seconds=seconds)
    best = max(rows, key=lambda row: row["cells a minute"])
    return replace(request, seconds=seconds, workers=(best["workers"],), graphs=best["graphs"])


def table(found: Mapping[str, Any]) -> str:
    """Return everything that was measured as Markdown: what, how much, under which conditions, n."""
    parts = found["parts"]
    rows = [row for name, part in _ROWS.items() if name in parts for row in part(parts)]
    head = ["what", "measured", "conditions"]
    lines = [head, ["---"] * 3, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _of(part: Mapping[str, Any], more: str) -> str:
    """Return the conditions of a row."""
    given = part["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in given["versions"].items())
    cuda = f", CUDA {given['cuda']}" if given["cuda"] else ""
    note = "**tiny: says nothing about speed**; " if given["tiny"] else ""
    return f"{note}{more}; {given['device']}, {versions}{cuda}"


def _packs_rows(parts: Mapping[str, Any]) -> list[list[str]]:
    part, alone = parts["packs"], parts.get("alone")
    rows = []
    for row in part["rows"]:
        steps = "recorded steps" if row["graphs"] else "steps as written"
        rate = row["cells a minute"]
        more = f"n = {row['done']} of {part['planned']} cells in {row['packs']} packs of up to "
        more += f"{row['largest pack']}, {row['workers']} workers, {steps}, start of workers included"
        ratios = ""
        if alone and _like(part, alone):
            pairs = [f"{rate / each:,.0f} × {name}" for name, each in alone["cells a minute"].items()]
            ratios = f" ({', '.join(pairs)}; goal {GOAL} ×)"
        rows.append(
            [f"packs, {part['data']} of core", f"{rate:,.0f} cells a minute{ratios}", _of(part, more)]
        )
    return rows


def _alone_rows(parts: Mapping[str, Any]) -> list[list[str]]:
    part = parts["alone"]
    names = {"resident": "data on the device", "loader": "`DataLoader`"}
    more = f"n = {part['done']} of {part['planned']} cells, drawn; without reading data and building modules"
    return [
        [f"one by one in Lightning, {names[name]}", f"{rate:,.1f} cells a minute", _of(part, more)]
        for name, rate in part["cells a minute"].items()
    ]


def _jax_rows(parts: Mapping[str, Any]) -> list[list[str]]:
    part = parts["jax"]
    if not part["rows"]:
        return [["the same ensemble in JAX", "not measured", _of(part, part.get("why not", "no time left"))]]
    rows = []
    for row in part["rows"]:
        micro = row["microseconds a step"]
        ratios = [f"{name} {each:,.0f} µs ({each / micro['jax']:.2f} × JAX)" for name, each in micro.items()]
        more = (
            f"{row['members']} members, median of {row['rounds']} epochs, losses of the first steps within "
        )
        more += f"{row['largest difference of losses in the first steps']:.1g}, JAX {part['jax']}"
        what = f"a step of an ensemble, {row['optimizer']}, {row['precision']}"
        rows.append([what, "; ".join(ratios), _of(part, more)])
    return rows


def _core_rows(parts: Mapping[str, Any]) -> list[list[str]]:
    part = parts["core"]
    (row,) = part["rows"]
    more = f"n = {row['done']} of {part['planned']} cells, {row['stored']} stored, {row['workers']} workers, "
    more += f"{'recorded steps' if row['graphs'] else 'steps as written'}, without the report"
    whole = f"{row['seconds']:,.0f} s (goal {GOAL_CORE} s)"
    measured = whole if row["done"] == part["planned"] else f"not finished in {row['seconds']:,.0f} s"
    return [["the whole of core", measured, _of(part, more)]]


def _floor_rows(parts: Mapping[str, Any]) -> list[list[str]]:
    part, packs = parts["floor"], parts.get("packs")
    rates = {name: rate / 1e12 for name, rate in part["operations a second"].items()}
    products = ", ".join(f"{name} {rate:,.1f} TFLOP/s" for name, rate in rates.items())
    copies = part["bytes copied a second"]
    rows = [["products and copies", f"{products}, {copies / 1e9:,.0f} GB/s", _of(part, "random numbers")]]
    if packs and packs["rows"] and _like(part, packs):
        best = max(packs["rows"], key=lambda row: row["cells a minute"])
        seconds = 60 * part["cells"] / best["cells a minute"]
        floors = part["operations"] / part["operations a second"]["32-true"], part["bytes"] / copies
        shares = [f"{100 * floor / seconds:.1f} %" for floor in floors]
        measured = f"{shares[0]} by operations, {shares[1]} by bytes"
        rows.append(["share of the floor, fastest packs", measured, _of(part, "operations in 32-true")])
    return rows


def _tolerance_rows(parts: Mapping[str, Any]) -> list[list[str]]:
    part = parts["tolerance"]
    rows = []
    for row in part["rows"]:
        found = [
            f"{name} {row[name]['median']:.2g}, at most {row[name]['largest']:.2g}"
            for name in ("test_loss", "test_accuracy")
            if name in row
        ]
        more = f"n = {row['cells']} cells of {part['data']}, median of the differences after the last epoch"
        rows.append([f"difference: {row['what']}", "; ".join(found) or "none", _of(part, more)])
    return rows


def _like(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two parts were measured on one kind of device, with the same versions and size."""
    return bool(one["conditions"] == other["conditions"])


_ROWS = {
    "packs": _packs_rows,
    "alone": _alone_rows,
    "jax": _jax_rows,
    "core": _core_rows,
    "floor": _floor_rows,
    "tolerance": _tolerance_rows,
}


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print the table; return 0, or 2 for a wrong request.

    Args:
        words: the arguments; those of the process by default.
    """
    parser = argparse.ArgumentParser(
        prog="python -m recipebench.benchmarks.speed.gpu", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS), help="[all]")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--seconds", type=float, default=540, help="for all parts together, about [540]")
    parser.add_argument("--json", type=Path, help="write there, beside parts that are there")
    parser.add_argument("--data-dir", type=Path, help="where data are looked for first")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4], help="that share the device [1 4]")
    parser.add_argument("--pack-size", type=int, help="cells in a pack at most [as the memory allows]")
    parser.add_argument("--graphs", action="store_true", help="record steps as CUDA graphs too")
    parser.add_argument("--tiny", action="store_true", help="try everything out; says nothing about speed")
    options = parser.parse_args(words)
    request = Request(
        device=options.device,
        size=TINY if options.tiny else FULL,
        seconds=options.seconds,
        data_dir=options.data_dir,
        workers=tuple(options.workers),
        graphs=options.graphs,
        pack_size=options.pack_size,
    )
    try:
        _check(request)
    except RequestError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    _settle()
    print(table(measure(options.part, request, options.json)))
    return 0


def _check(request: Request) -> None:
    """Refuse before anything is measured what would fail later: no device, no data."""
    if request.device == "cuda" and not torch.cuda.is_available():
        raise RequestError("expected a graphics processor that torch can use, found none; try --device cpu.")
    if request.graphs and request.device != "cuda":
        raise RequestError("--graphs: expected --device cuda, steps are not recorded on cpu.")
    for name in request.size.data:
        ensure(DATA.choose(name), request.data_dir)


def _settle() -> None:
    """One thread, as in workers, and no word from the libraries between the figures."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
