"""Draws charts as SVG without a browser, in processes of its own beside the rest of a report.

Run as `python -m recipebench.reports.drawing LANGUAGE FONTS`, which `Drawing` does. It answers each line of
JSON by one: a definition by `svg()`, null by `javascript()`.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any

from recipebench import processes
from recipebench.reports import fonts, language

MOST = 3
"""Processes that draw at the same time, at most."""

_OWN, _MACHINE = "own-fonts", "machine-fonts"
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Drawing:
    """The processes that draw: started at once, fed without waiting for them, and ended with their context.

    Args:
        language: of what is drawn, of `language.LANGUAGES`.
        names: what is shown beside the sentences of that language. Where they need no fonts of the machine
            (see `fonts`), figures are the same on every one with Linux; else its fonts are used, so that
            their widths are right.

    Example:
        >>> with Drawing("en") as drawing:  # doctest: +SKIP
        ...     drawing.draw("bar.svg", spec)
        ...     script, figures = drawing.script(), drawing.finish()
    """

    def __init__(self, language: str, names: str = "") -> None:
        which = _OWN if fonts.machine_free(names) else _MACHINE
        self._all = [_Process(language, which) for _ in range(min(MOST, processes.usable_cores()))]
        self._idle = SimpleQueue[_Process]()
        for process in self._all:
            self._idle.put(process)
        self._pool = ThreadPoolExecutor(len(self._all))
        self._script = self._pool.submit(self._ask, None)
        self._figures: dict[str, Future[str]] = {}

    def __enter__(self) -> Drawing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes, whatever they are at."""
        for process in self._all:
            process.kill()
        self._pool.shutdown(cancel_futures=True)
        for process in self._all:
            process.close()

    def draw(self, name: str, spec: Mapping[str, Any]) -> None:
        """Have a definition drawn, with its look in `config`."""
        self._figures[name] = self._pool.submit(self._ask, spec)

    def script(self) -> str:
        """Return `javascript()`.

        Raises:
            RuntimeError: its process has failed, with what it said.
        """
        return self._script.result()

    def finish(self) -> dict[str, str]:
        """Return what was drawn, by name.

        Raises:
            RuntimeError: a process has failed, with what it said.
        """
        return {name: figure.result() for name, figure in self._figures.items()}

    def _ask(self, wanted: Mapping[str, Any] | None) -> str:
        process = self._idle.get()
        try:
            return process.ask(wanted)
        finally:
            self._idle.put(process)


class _Process:
    """One process that draws."""

    def __init__(self, language: str, which: str) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            [*processes.command(__name__), language, which],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            encoding="ascii",
            env=processes.environment(),
        )

    def ask(self, wanted: Mapping[str, Any] | None) -> str:
        """Return the answer to a line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it has ended, as its answer tells
            self._process.stdin.write(json.dumps(wanted) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            self._said.seek(0)
            said = self._said.read().decode(errors="replace").strip()
            raise RuntimeError(f"drawing ended with exit code {code}: {said}")
        answer: str = json.loads(line)
        return answer

    def kill(self) -> None:
        """End it at once; who waits for its answer gets none."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Close what it was spoken to by."""
        for stream in (self._process.stdin, self._process.stdout, self._said):
            assert stream is not None
            with contextlib.suppress(OSError):  # what it had not read
                stream.close()


def svg(spec: Mapping[str, Any]) -> str:
    """Draw a definition as SVG; the same bytes for the same definition."""
    import vl_convert

    if language.current().han:
        fonts.register()
    drawn = _steady_names(vl_convert.vegalite_to_svg(_drawable(spec)))
    return fonts.with_face(drawn) if language.current().han else drawn


def javascript() -> str:
    """Return Vega, Vega-Lite and their embedding as one script that fetches nothing."""
    import vl_convert

    code: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return code


def _drawable(value: Any) -> Any:
    """Replace the characters that XML forbids; vl-convert ends the whole process on a NUL."""
    if isinstance(value, Mapping):
        return {key: _drawable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_drawable(inner) for inner in value]
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else value


def _steady_names(drawing: str) -> str:
    """Number the drawing's own ids from 0: Vega counts on from chart to chart."""
    names = dict.fromkeys(re.findall(r'\bid="([A-Za-z_]+\d+)"', drawing))
    fresh = {name: f"id{position}" for position, name in enumerate(names)}
    pattern = r'(?<=\bid=")[A-Za-z_]+\d+(?=")|(?<=url\(#)[A-Za-z_]+\d+(?=\))'
    return re.sub(pattern, lambda found: fresh.get(found[0], found[0]), drawing)


def main() -> None:
    """Answer what standard input asks for; a first chart is drawn while nothing is asked for yet."""
    written, which = sys.argv[1:]
    if which == _OWN:
        fonts.leave_out_machine()
    with language.writing(written):
        svg({"mark": "point"})
        for line in sys.stdin:
            wanted = json.loads(line)
            print(json.dumps(javascript() if wanted is None else svg(wanted)), flush=True)


if __name__ == "__main__":
    main()
