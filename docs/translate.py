"""Renews the catalogs of a report's languages, and the font that holds their characters.

    python docs/translate.py                   gather the messages of the code into every `.po`, compile each to `.mo`
    python docs/translate.py --check           change nothing; exit 1 where a message has no translation, or a file is stale
    python docs/translate.py --font FILE.ttc   cut the bundled font anew, from Noto Sans CJK (Debian: fonts-noto-cjk)

A message is what stands in a call of `gettext`, `say`, `N_`, `ngettext`, `count_of` or `range_of`, in a `{% trans %}` block
of the page's template, or after `description:` in a suite that ships. Translations are written by hand into the `.po`.
"""  # noqa: E501

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import yaml
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment

from recipebench.benchmarks.suite import shipped
from recipebench.reports import fonts
from recipebench.reports.language import DOMAIN, LANGUAGES

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (*sorted((ROOT / "reports").rglob("*.py")), ROOT / "benchmarks" / "reporting.py")
TEMPLATE = ROOT / "reports" / "page.html.j2"
LOCALE = ROOT / "reports" / "locale"
FONT = ROOT / "reports" / "fonts" / fonts.FILE.name

SINGLE = ("gettext", "say", "N_")
COUNTED = ("count_of", "range_of")
"""Their words for one and several become `{count} seed` and `{count} seeds`."""

FACE = "Noto Sans CJK SC"
LARGEST_FONT = 300_000
"""Bytes."""

HAN = re.compile("[\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]")
"""What the bundled font has to hold: Chinese characters and full-width punctuation."""


class Message(NamedTuple):
    """A text that a report can say.

    Args:
        id: in English; with a plural, a pair of both forms.
        where: the file that says it.
    """

    id: str | tuple[str, str]
    where: str


def messages() -> list[Message]:
    """Return all messages that code, template and shipped suites can ask for, each once."""
    found: dict[str | tuple[str, str], Message] = {}
    for message in (*_of_code(), *_of_template(), *_of_suites()):
        found.setdefault(message.id, message)
    return list(found.values())


def _of_code() -> Iterator[Message]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (found := _asked(node)):
                yield Message(found, str(path.relative_to(ROOT)))


def _asked(call: ast.Call) -> str | tuple[str, str] | None:
    """Return the message of a call; none where it is not one of ours, or says what is marked elsewhere."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if not texts:
        return None
    if name in SINGLE:
        return texts[0]
    if name == "ngettext":
        return texts[0], texts[1]
    if name in COUNTED:
        one, several = texts[0], texts[1] if len(texts) > 1 else f"{texts[0]}s"
        return f"{{count}} {one}", f"{{count}} {several}"
    return None


def _of_template() -> Iterator[Message]:
    environment = Environment(extensions=["jinja2.ext.i18n"], trim_blocks=True, lstrip_blocks=True)
    environment.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    environment.policies["ext.i18n.trimmed"] = True
    source = TEMPLATE.read_text(encoding="utf-8")
    for _, _, text in environment.extract_translations(source):  # type: ignore[attr-defined]
        told = text if isinstance(text, str) else next(part for part in text if part is not None)
        yield Message(told, str(TEMPLATE.relative_to(ROOT)))


def _of_suites() -> Iterator[Message]:
    for path in shipped().values():
        yield Message(yaml.safe_load(path.read_text(encoding="utf-8"))["description"], f"suites/{path.name}")


def path_of(language: str) -> Path:
    """Return the catalog of a language that people edit."""
    return LOCALE / LANGUAGES[language].folder / "LC_MESSAGES" / f"{DOMAIN}.po"


def read(language: str) -> Catalog:
    """Return the catalog of a language as it stands."""
    with path_of(language).open("rb") as file:
        return read_po(file, locale=LANGUAGES[language].folder)


def renewed(language: str) -> Catalog:
    """Return the catalog of a language with just the messages that can be asked for; translations stay."""
    old = read(language) if path_of(language).exists() else Catalog()
    found = Catalog(
        locale=LANGUAGES[language].folder,
        project="recipebench",
        charset="utf-8",
        fuzzy=False,
        header_comment=f"# What a report says, in {language}. Renewed by docs/translate.py.",
    )
    for message in messages():
        known = old.get(message.id if isinstance(message.id, str) else message.id[0])
        said = known.string if known and bool(known.pluralizable) == isinstance(message.id, tuple) else None
        found.add(message.id, said, locations=[(message.where, None)])  # type: ignore[list-item]
    return found


def untranslated(catalog: Catalog) -> list[str]:
    """Return the messages of a catalog that have no translation."""
    found = []
    for message in catalog:
        said = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id and not all(said):
            found.append(message.id if isinstance(message.id, str) else message.id[0])
    return found


def written(catalog: Catalog) -> tuple[bytes, bytes]:
    """Return a catalog as people edit it and as it is read; without a clock."""
    po, mo = io.BytesIO(), io.BytesIO()
    write_po(po, catalog, width=110, sort_by_file=True, omit_header=False, include_lineno=False)
    text = re.sub(
        rb'"(POT-Creation|PO-Revision)-Date:.*\n|"(Last-Translator|Language-Team|Report-).*\n',
        b"",
        po.getvalue(),
    )
    compiled = read_po(io.BytesIO(text), locale=catalog.locale)
    compiled.creation_date = compiled.revision_date = datetime.fromtimestamp(0, UTC)
    write_mo(mo, compiled)
    return text, mo.getvalue()


def characters() -> str:
    """Return every character of the catalogs that the bundled font has to hold."""
    texts = [path_of(name).read_text(encoding="utf-8") for name, known in LANGUAGES.items() if known.han]
    return "".join(sorted({letter for text in texts for letter in HAN.findall(text)}))


def cut(source: Path) -> None:
    """Write the bundled font: the glyphs of `characters`, under a name of its own."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTCollection

    with TTCollection(source) as collection:
        font = next(font for font in collection if font["name"].getDebugName(4) == FACE)
        options = Options(
            hinting=False, layout_features=[], notdef_outline=True, name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14]
        )
        subsetter = Subsetter(options)
        subsetter.populate(text=characters())
        subsetter.subset(font)
        for number, text in {1: fonts.FAMILY, 3: fonts.FAMILY, 4: fonts.FAMILY, 6: FONT.stem}.items():
            font["name"].removeNames(nameID=number)
            font["name"].setName(text, number, 3, 1, 0x409)
        top = font["CFF "].cff
        top.fontNames, top.topDictIndex[0].FamilyName = [FONT.stem], fonts.FAMILY
        top.topDictIndex[0].FullName = fonts.FAMILY
        font.recalcTimestamp = False
        FONT.parent.mkdir(exist_ok=True)
        font.save(FONT)
    size = FONT.stat().st_size
    if size > LARGEST_FONT:
        sys.exit(f"{FONT} has {size:,} bytes; expected at most {LARGEST_FONT:,}.")


def stale() -> list[str]:
    """Say what is not as the code and the catalogs would have it."""
    found = []
    for name in (name for name, known in LANGUAGES.items() if known.folder):
        catalog, path = renewed(name), path_of(name)
        found += [f"{name}: no translation of {text!r}" for text in untranslated(catalog)]
        pairs = zip((path, path.with_suffix(".mo")), written(catalog), strict=True)
        found += [f"{file.name} is stale" for file, content in pairs if file.read_bytes() != content]
    return found


def main() -> None:
    """Renew or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 where something is stale"
    )
    parser.add_argument("--font", type=Path, metavar="FILE", help="cut the bundled font from this collection")
    options = parser.parse_args()
    if options.check:
        sys.exit("\n".join(stale()) or 0)
    for name in (name for name, known in LANGUAGES.items() if known.folder):
        path, catalog = path_of(name), renewed(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        for file, content in zip((path, path.with_suffix(".mo")), written(catalog), strict=True):
            file.write_bytes(content)
        print(f"{path.name} ({name}): {len(catalog)} messages, {len(untranslated(catalog))} to translate")
    if options.font:
        cut(options.font)
        print(f"{FONT.name}: {len(characters())} characters, {FONT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
