"""What charts are measured with, and the bundled Chinese font for where no such font is installed.

`fonts/` holds the glyphs of every character of the catalogs and no Latin ones, so that nothing but Chinese
is ever drawn with it; `docs/translate.py` renews it. The page brings the font along. A figure brings the
glyphs that it shows: as a font and not as outlines, so that its text can be searched, selected and edited.

A figure is laid out by the widths of its text. The renderer brings Liberation Sans, whose widths are those of
Arial; with it and the bundled font a figure is the same on every machine with Linux.
"""

from __future__ import annotations

import base64
import functools
import io
import os
import re
from pathlib import Path

from recipebench.reports import language

FOLDER = Path(__file__).parent / "fonts"
FILE = FOLDER / "recipebench-han-sc.otf"
FAMILY = "Recipebench Han SC"
RANGE = "U+2E80-9FFF, U+F900-FAFF, U+FE30-FE4F, U+FF00-FFEF"
"""Chinese characters and full-width punctuation: no other text looks into the font."""

_COVERED = re.compile(r"[\x00-\u017f\u0384-\u03ce\u0400-\u045f‐‑–—―‗‘’‚‛“”„†‡•…‰′″‹›€™−±×·≈≠≤≥→←∞√∑∂]*")
"""Texts whose characters Liberation Sans has: in Latin, Greek and Cyrillic script, with common signs."""


def machine_free(names: str) -> bool:
    """Return whether names can be measured without the fonts of the machine.

    Sentences of the report need none of its fonts, in any language.
    """
    return _COVERED.fullmatch(names) is not None


def leave_out_machine() -> None:
    """Measure the charts of this process with no font of the machine, from the first one on.

    It spares the renderer to open a font's file anew for every character. Only where fonts are looked up as
    fontconfig does, on Linux and the BSDs; elsewhere the machine's fonts are used.
    """
    os.environ["FONTCONFIG_FILE"] = str(FOLDER / "fonts.conf")


def families(latin: str) -> str:
    """Return the list of fonts for the language that is written.

    The font stands first: further down, browsers draw the text that comes before it is loaded as boxes, and
    some keep them.

    Args:
        latin: the list for English.
    """
    return f"'{FAMILY}', {latin}" if language.current().han else latin


def face() -> str:
    """Return a style that brings the whole font along, to be put before the fonts of the page."""
    return f"{_rule(FILE.read_bytes())}\n:root {{ --han: '{FAMILY}',; }}\n"


def with_face(drawing: str) -> str:
    """Return an SVG with a font of the Chinese characters that it shows."""
    shown = sorted(set(drawing) & _glyphs())
    if not shown:
        return drawing
    head, tag, rest = drawing.partition(">")
    return f"{head}{tag}<style>{_rule(_subset(''.join(shown)))}</style>{rest}"


@functools.cache
def register() -> None:
    """Let charts that are drawn without a browser use the font: it sets their widths."""
    import vl_convert

    vl_convert.register_font_directory(str(FOLDER))


def _rule(font: bytes) -> str:
    data = base64.b64encode(font).decode("ascii")
    kind = "font/woff" if font.startswith(b"wOFF") else "font/otf"
    source = f"url(data:{kind};base64,{data})"
    return f"@font-face {{ font-family: '{FAMILY}'; src: {source}; unicode-range: {RANGE}; }}"


@functools.cache
def _glyphs() -> frozenset[str]:
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

    with TTFont(FILE) as font:
        return frozenset(map(chr, font.getBestCmap()))


@functools.lru_cache(maxsize=64)
def _subset(text: str) -> bytes:
    """Return the font with these characters alone; the same bytes for the same text."""
    from fontTools.subset import Options, Subsetter  # type: ignore[import-untyped]
    from fontTools.ttLib import TTFont

    with TTFont(FILE, recalcTimestamp=False) as font:
        subsetter = Subsetter(Options(hinting=False, layout_features=[], notdef_outline=True))
        subsetter.populate(text=text)
        subsetter.subset(font)
        font.flavor = "woff"
        buffer = io.BytesIO()
        font.save(buffer)
    return buffer.getvalue()
