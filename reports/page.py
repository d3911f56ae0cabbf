"""The page: the tables and charts of a report in one HTML file that runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from recipebench.errors import RequestError
from recipebench.reports import (
    charts,
    comparison_figures,
    comparison_views,
    export,
    figures,
    fonts,
    glance,
    language,
    rates,
    speed_views,
    tables,
    tuning_charts,
    tuning_figures,
    tuning_views,
    verdict_charts,
    verdict_views,
    verdict_words,
    views,
    wording,
)
from recipebench.reports.contents import CURVE_SPLITS, Contents, measures
from recipebench.reports.frames import STATUSES, endpoint
from recipebench.reports.language import N_, gettext, listed, parts, say, together
from recipebench.reports.vega_lite import ROWS, Spec


def render(contents: Contents, slots: charts.Slots, vega: str) -> str:
    """Return the page as HTML.

    The policy in its head allows the page's own style and its two scripts by their hashes and nothing
    else: no request, no inline handler, no `eval` (Vega's expressions are interpreted, not compiled).

    Args:
        contents: what the report says.
        slots: `figures.slots`, its charts.
        vega: `drawing.javascript`, what draws them.
    """
    style, script = _read("page.css"), _read("page.js")
    looks = {"config": charts.config("currentColor", legends=False), "file": charts.file_config()}
    words = {name: gettext(text) for name, text in _WORDS.items()}
    payload = _json(looks | {"tex": export.TEX, "words": words} | packed(slots))
    template = _environment().from_string(_read("page.html.j2"))
    face = fonts.face() if language.current().han else ""
    return template.render(
        policy=policy([style, *filter(None, [face])], [vega, script]),
        language=language.current().tag,
        face=_inline(face, "style"),
        style=_inline(style, "style"),
        script=_inline(script, "script"),
        vega=_inline(vega, "script"),
        payload=Markup(payload),
        **_sections(contents),
    )


_WORDS = {
    "numbers": N_("Numbers"),
    "numbersOf": N_("Numbers: {what}"),
    "saveChart": N_("Save SVG"),
    "saveChartOf": N_("Save SVG: {what}"),
    "saveCsv": N_("Save CSV"),
    "saveCsvOf": N_("Save CSV: table {table}"),
    "saveTex": N_("Save LaTeX"),
    "saveTexOf": N_("Save LaTeX: table {table}"),
    "filter": N_("Filter"),
    "rows": N_("{shown} of {all} rows"),
    "nothing": N_("Not compared on this data set."),
}
"""What the page's script says, by the names that it uses."""


def _environment() -> Environment:
    """Return what the page's template is rendered with; it speaks the language that is written."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(gettext, language.ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.policies["ext.i18n.trimmed"] = True
    return environment


def policy(styles: list[str], scripts: list[str]) -> str:
    """Return the content security policy for a page with just these styles and scripts inside."""
    allowed = {"style-src": styles, "script-src": scripts}
    rules = [f"{kind} {' '.join(map(_source, texts))}" for kind, texts in allowed.items()]
    rules += ["font-src data:"] if len(styles) > 1 else []  # the second style brings a font along
    return "; ".join(["default-src 'none'", *rules, "base-uri 'none'", "form-action 'none'"])


def packed(slots: charts.Slots) -> dict[str, Any]:
    """Return the charts in a third of their size: each definition once, values as rows without keys.

    Returns:
        `templates`, definitions without values; and `slots`, for each place and choice a text or
        `{template, keys, values}`.
    """
    templates: dict[str, int] = {}
    found: dict[str, dict[str, Any]] = {}
    for place, choices in slots.items():
        found[place] = {choice: _packed(spec, templates) for choice, spec in choices.items()}
    return {"templates": [json.loads(text) for text in templates], "slots": found}


def _packed(spec: Spec | str, templates: dict[str, int]) -> dict[str, Any] | str:
    if isinstance(spec, str):
        return spec
    rows = spec["datasets"][ROWS]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    values = [[row.get(key) for key in keys] for row in rows]
    blank = json.dumps({name: part for name, part in spec.items() if name != "datasets"})
    return {"template": templates.setdefault(blank, len(templates)), "keys": keys, "values": values}


def _comparisons(contents: Contents) -> dict[str, Any]:
    """What the sections on effects, ranks, variance and profiles show."""
    found, told = contents.comparisons, comparison_views
    effects = found.effects[found.effects["n"] > 0]
    places = list(enumerate(contents.compared))
    return {
        "effects": [(label, told.effects(contents, label)) for label in contents.data if len(effects)],
        "effect_factors": [
            _choice(i, factor, contents) for i, factor in places if factor in set(effects["factor"])
        ],
        "effect_places": [
            (f"effects-{i}", label, f"paired_effects-{wording.slug(label)}", caption)
            for i, label in enumerate(contents.data)
            for caption in _effect_captions(effects[effects["data"] == label])
        ],
        "rankings": comparison_figures.ranks(contents),
        "unranked": parts(told.unranked(contents)),
        "ranks": told.ranks(contents),
        "variance": comparison_figures.variance(contents),
        "unshared": together(told.unshared(contents)),
        "shares": told.shares(contents),
        "profiles": [_choice(contents.compared.index(p.factor), p.factor, contents) for p in found.profiles],
        "profile_caption": together(
            [*map(told.profile_caption, found.profiles), gettext("Source: Dolan and Moré 2002.")]
        ),
        "profile_legends": [
            (contents.compared.index(p.factor), _legend(contents, p.factor)) for p in found.profiles
        ],
        "profile_areas": told.profiles(contents),
    }


def _effect_captions(here: pd.DataFrame) -> list[str]:
    """The caption of a data set's effects; none where it has none."""
    return [comparison_views.effect_figure_caption(here)] if len(here) else []


def _sections(contents: Contents) -> dict[str, Any]:
    suite, drawn = contents.suite, figures.drawn_epochs(contents)
    compared = contents.compared
    total = contents.counts.iloc[-1]
    return {
        "suite": suite,
        "headline": contents.headline,
        "won": [(told, glance.glance(contents, label)) for label, told in contents.headline.won.items()],
        "gap": language.current().gap,
        "fixed": listed(f"{wording.factor_name(factor)} {level}" for factor, level in contents.fixed),
        "totals": [(name, wording.word(name), wording.count(total[name])) for name in ("planned", *STATUSES)],
        "seeds": listed(map(str, suite.seeds)),
        "rates": suite.rates,
        "default_rates": suite.rates_default,
        "untuned": contents.rates == "untuned" and "optimizer" in contents.factors,
        "mixed": contents.rates == "mixed",
        "tuning": _tuning(contents) if contents.searches is not None else None,
        "reached": tuning_views.time_to_target(contents) if contents.reached is not None else None,
        "verdicts": _verdicts(contents),
        "within": [(label, views.within(contents, label)) for label in contents.data],
        "status": views.status(contents),
        "reasons": views.reasons(contents),
        "means": [(label, views.factor_means(contents, label)) for label in contents.data],
        "best": [(label, views.best(contents, label)) for label in contents.data],
        "recipes": views.recipes(contents),
        "outcomes": views.outcomes(contents),
        "diverged": int(total["diverged"]),
        "cost": views.cost(contents),
        "speed": speed_views.section(contents.speed) if contents.speed is not None else None,
        "machines": views.machines(contents),
        "environments": views.environments(contents),
        "data_facts": views.data_facts(contents),
        "pairs": _pairs(contents, compared),
        "pair_places": [
            (f"pairs-{i}", label, f"pairs-{wording.slug(label)}", _pair_caption(label, contents))
            for i, label in enumerate(contents.data if contents.pairs else ())
        ],
        "curve_factors": [_choice(i, f, contents) for i, f in enumerate(compared)] if contents.curves else [],
        "curve_measures": _measure_names(contents),
        "curve_places": _curve_places(contents),
        "legends": [(i, _legend(contents, factor)) for i, factor in enumerate(compared)],
        "curves_note": together(
            [
                ""
                if len(drawn[0]) == drawn[1]
                else say("{some} of {all} epochs are drawn.", some=len(drawn[0]), all=drawn[1]),
                gettext(
                    "Only cells that ended ok are drawn, averaged inside each seed over the other factors, "
                    "then over the seeds. A cell that stopped early keeps its last values. Bands are cut at "
                    "the frame. Epoch 0, untrained, is in history.parquet."
                ),
            ]
        ),
        **_comparisons(contents),
        "unbalanced": parts(_unbalanced(contents)),
        "gaps": _gaps(contents),
    }


def _choice(place: int, factor: str, contents: Contents) -> tuple[int, str, str]:
    """Return a factor to choose: the value, its name, which files bear, and how the page calls it."""
    return place, factor, rates.marked(factor, contents)


def _verdicts(contents: Contents) -> dict[str, Any]:
    """What the section on verdicts shows."""
    family = contents.verdicts
    drawn = verdict_charts.drawn(family)
    return {
        "sentences": verdict_words.sentences(family),
        "tables": [verdict_views.verdicts(contents), verdict_views.effects(contents)] if family else [],
        "place": verdict_charts.PLACE if drawn else "",
        "caption": gettext(verdict_charts.CAPTION),
        "legend": [
            (wording.word(word), color, "")
            for word, color in zip(verdict_charts.WORDS, verdict_charts.WORD_COLORS, strict=True)
        ],
    }


def _tuning(contents: Contents) -> dict[str, Any]:
    """What the section on tuning shows."""
    default = {one.title: one for one in tuning_figures.against_default(contents)}
    compared = tuning_views.compared_data(contents)
    how = tuning_views.plan(contents)[0]
    return {
        "sentences": tuning_views.sentences(contents),
        "default": [(default[label], tuning_views.against_default(contents, label)) for label in compared],
        "series": list(
            zip(map(wording.word, tuning_charts.SERIES), tuning_charts.SERIES_COLORS, strict=True)
        ),
        "legend": [
            (level, charts.color(i), " ".join(map(str, charts.dash(i))))
            for i, level in enumerate(tuning_views.levels(contents))
        ],
        "sensitivity": tuning_figures.sensitivity(contents),
        "budgets": tuning_figures.budgets(contents),
        "chosen": tuning_views.chosen(contents),
        "tried": tuning_views.sensitivity(contents),
        "best_of_k": tuning_views.best_of_k(contents),
        "ranks": tuning_views.ranks(contents),
        "cost": tuning_views.cost(contents),
        "seeds": listed(map(str, how.seeds)),
    }


def _pairs(contents: Contents, compared: list[str]) -> list[tuple[str, str, str]]:
    place = {factor: position for position, factor in enumerate(compared)}
    found = []
    for a, b in contents.pairs:
        name = f"{a} \N{MULTIPLICATION SIGN} {b}"
        found.append((f"{place[a]}-{place[b]}", name, rates.marked(name, contents)))
    return found


def _pair_caption(label: str, contents: Contents) -> str:
    goal = endpoint(label, contents.suite)
    seeds = wording.count_range(*_seed_range(contents, label))
    name = wording.endpoint_name(goal)
    return say(
        "Mean of the {endpoint}; {better}, darker is better. Averaged inside each seed over the other "
        "factors, then over n = {seeds} seeds; pointing shows the {interval}. Interaction: mean "
        "\N{MINUS SIGN} row's mean \N{MINUS SIGN} column's mean + mean of all, blue where better than the "
        "sum of the two, brown where worse; ω² (Hays 1994) is its share of the variance where the crossing "
        "is balanced. Exploratory.",
        endpoint=say("{endpoint}, %", endpoint=name) if wording.is_share(goal.measure) else name,
        better=wording.better(goal),
        seeds=seeds,
        interval=views.mean_interval(),
    )


def _seed_range(contents: Contents, label: str) -> tuple[int, int]:
    n = contents.means.loc[contents.means["data"] == label, "n"]
    return int(n.min()), int(n.max())


def _curve_places(contents: Contents) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    if not contents.curves:
        return []
    found = []
    for i, label in enumerate(contents.data):
        name = wording.slug(label)
        splits = [
            (f"curves-{i}-{split}", wording.split_name(split), f"curves-{name}-{split}")
            for split in CURVE_SPLITS
        ]
        found.append((label, _curve_caption(contents, label), splits))
    return found


def _curve_caption(contents: Contents, label: str) -> str:
    parts = [curve[curve["data"] == label] for curve in contents.curves.values()]
    seeds = [int(n) for part in parts if len(part) for n in (part["n"].min(), part["n"].max())] or [0]
    return say(
        "Mean over n = {seeds} seeds; band: {interval}.",
        seeds=wording.count_range(min(seeds), max(seeds)),
        interval=views.mean_interval(),
    )


def _measure_names(contents: Contents) -> list[tuple[int, str, str]]:
    if not contents.curves:
        return []
    lists = [measures(label, contents.suite) for label in contents.data]
    longest = max(map(len, lists), default=0)
    known = [dict.fromkeys(m[min(i, len(m) - 1)] for m in lists) for i in range(longest)]
    told = [dict.fromkeys(map(wording.measure_name, each)) for each in known]
    return [
        (i, " / ".join(each), " / ".join(names))
        for i, (each, names) in enumerate(zip(known, told, strict=True))
    ]


def _legend(contents: Contents, factor: str) -> list[tuple[str, str, str]]:
    known = enumerate(contents.levels(factor))
    return [(level, charts.color(i), " ".join(map(str, charts.dash(i)))) for i, level in known]


def _gaps(contents: Contents) -> str:
    gaps = int(contents.cells["score"].isna().sum())
    return wording.count_of(gaps, "cell is a gap", "cells are gaps") if gaps else ""


def _unbalanced(contents: Contents) -> list[str]:
    found = tables.unbalanced(contents.cells)
    return [
        say("{factor} on {data}", factor=wording.factor_name(r["factor"]), data=r["data"])
        for _, r in found.iterrows()
    ]


def _read(name: str) -> str:
    return (
        resources.files("recipebench.reports")
        .joinpath(name)
        .read_text(encoding="utf-8")
        .replace("\r\n", "\n")
    )


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _inline(text: str, element: str) -> Markup:
    """Pass our own style or script through unescaped; text that could end its element is refused."""
    lower = text.lower()
    if f"</{element}" in lower or "<!--" in lower or "\r" in text:
        raise RequestError(f"page: expected a {element} that stays inside its element, got one that ends it.")
    return Markup(text)


def _json(value: object) -> str:
    """Return JSON that is safe inside a script element: no `<`, `>` or `&`, ASCII only."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
