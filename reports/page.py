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


def render(contents: Contents, slots: figures.Slots) -> str:
    """Return the page as HTML.

    The policy in its head allows the page's own style and its two scripts by their hashes and nothing
    else: no request, no inline handler, no `eval` (Vega's expressions are interpreted, not compiled).

    Args:
        contents: what the report says.
        slots: `figures.slots`, its charts.
    """
    style, script, vega = _read("page.css"), _read("page.js"), charts.javascript()
    looks = {"config": charts.config("currentColor", legends=False), "file": charts.file_config()}
    payload = _json(looks | {"tex": export.TEX} | packed(slots))
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = environment.from_string(_read("page.html.j2"))
    return template.render(
        policy=policy([style], [vega, script]),
        style=_inline(style, "style"),
        script=_inline(script, "script"),
        vega=_inline(vega, "script"),
        payload=Markup(payload),
        **_sections(contents),
    )


def policy(styles: list[str], scripts: list[str]) -> str:
    """Return the content security policy for a page with just these styles and scripts inside."""
    allowed = {"style-src": styles, "script-src": scripts}
    parts = [f"{kind} {' '.join(map(_source, texts))}" for kind, texts in allowed.items()]
    return "; ".join(["default-src 'none'", *parts, "base-uri 'none'", "form-action 'none'"])


def packed(slots: figures.Slots) -> dict[str, Any]:
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


def _packed(spec: charts.Spec | str, templates: dict[str, int]) -> dict[str, Any] | str:
    if isinstance(spec, str):
        return spec
    rows = spec["datasets"][charts.ROWS]
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
        "effect_factors": [(i, factor) for i, factor in places if factor in set(effects["factor"])],
        "effect_places": [
            (f"effects-{i}", label, f"paired_effects-{wording.slug(label)}", caption)
            for i, label in enumerate(contents.data)
            for caption in _effect_captions(effects[effects["data"] == label])
        ],
        "rankings": comparison_figures.ranks(contents),
        "unranked": told.unranked(contents),
        "ranks": told.ranks(contents),
        "variance": comparison_figures.variance(contents),
        "unshared": told.unshared(contents),
        "shares": told.shares(contents),
        "profiles": [
            (contents.compared.index(p.factor), p.factor, told.profile_caption(p)) for p in found.profiles
        ],
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
        "fixed": ", ".join(f"{factor} {level}" for factor, level in contents.fixed),
        "totals": [(name, wording.count(total[name])) for name in ("planned", *STATUSES)],
        "seeds": ", ".join(map(str, suite.seeds)),
        "rates": suite.rates,
        "default_rates": suite.rates_default,
        "untuned": contents.rates == "untuned" and "optimizer" in contents.factors,
        "mixed": contents.rates == "mixed",
        "rates_mark": _RATES_MARKS[contents.rates].format(suite.rates),
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
        "curve_factors": list(enumerate(compared)) if contents.curves else [],
        "curve_measures": _measure_names(contents),
        "curve_places": _curve_places(contents),
        "legends": [(i, _legend(contents, factor)) for i, factor in enumerate(compared)],
        "drawn": "" if len(drawn[0]) == drawn[1] else f"{len(drawn[0])} of {drawn[1]} epochs are drawn. ",
        "interval": views.INTERVAL,
        **_comparisons(contents),
        "unbalanced": _unbalanced(contents),
        "gaps": _gaps(contents),
    }


_RATES_MARKS = {"tuned": "", "untuned": " (at {})", "mixed": " (not marked tuned: at {})"}


def _verdicts(contents: Contents) -> dict[str, Any]:
    """What the section on verdicts shows."""
    family = contents.verdicts
    drawn = verdict_charts.drawn(family)
    return {
        "sentences": verdict_words.sentences(family),
        "tables": [verdict_views.verdicts(contents), verdict_views.effects(contents)] if family else [],
        "place": verdict_charts.PLACE if drawn else "",
        "caption": verdict_charts.CAPTION,
        "legend": [
            (word, color, "")
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
        "series": list(zip(tuning_charts.SERIES, tuning_charts.SERIES_COLORS, strict=True)),
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
        "seeds": ", ".join(map(str, how.seeds)),
    }


def _pairs(contents: Contents, compared: list[str]) -> list[tuple[str, str]]:
    place = {factor: position for position, factor in enumerate(compared)}
    return [(f"{place[a]}-{place[b]}", f"{a} \N{MULTIPLICATION SIGN} {b}") for a, b in contents.pairs]


def _pair_caption(label: str, contents: Contents) -> str:
    goal = endpoint(label, contents.suite)
    seeds = wording.count_range(*_seed_range(contents, label))
    unit = ", %" if wording.unit(goal.measure) else ""
    return (
        f"Mean of the {wording.endpoint_name(goal)}{unit}; {wording.better(goal)}, darker is better. "
        f"Averaged inside each seed over the other factors, then over n = {seeds} seeds; pointing shows "
        f"the {views.INTERVAL}. Interaction: mean \N{MINUS SIGN} row's mean \N{MINUS SIGN} column's mean + "
        "mean of all, blue where better than the sum of the two, brown where worse; ω² (Hays 1994) is its "
        "share of the variance where the crossing is balanced. Exploratory."
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
        splits = [(f"curves-{i}-{split}", split, f"curves-{name}-{split}") for split in CURVE_SPLITS]
        found.append((label, _curve_caption(contents, label), splits))
    return found


def _curve_caption(contents: Contents, label: str) -> str:
    parts = [curve[curve["data"] == label] for curve in contents.curves.values()]
    seeds = [int(n) for part in parts if len(part) for n in (part["n"].min(), part["n"].max())] or [0]
    return f"Mean over n = {wording.count_range(min(seeds), max(seeds))} seeds; band: {views.INTERVAL}."


def _measure_names(contents: Contents) -> list[tuple[int, str]]:
    if not contents.curves:
        return []
    lists = [measures(label, contents.suite) for label in contents.data]
    longest = max(map(len, lists), default=0)
    names = [
        dict.fromkeys(wording.measure_name(m[min(i, len(m) - 1)]) for m in lists) for i in range(longest)
    ]
    return [(i, " / ".join(each)) for i, each in enumerate(names)]


def _legend(contents: Contents, factor: str) -> list[tuple[str, str, str]]:
    known = enumerate(contents.levels(factor))
    return [(level, charts.color(i), " ".join(map(str, charts.dash(i)))) for i, level in known]


def _gaps(contents: Contents) -> str:
    gaps = int(contents.cells["score"].isna().sum())
    return wording.count_of(gaps, "cell is a gap", "cells are gaps") if gaps else ""


def _unbalanced(contents: Contents) -> list[str]:
    found = tables.unbalanced(contents.means)
    return [f"{r['factor']} on {r['data']}" for _, r in found.iterrows()]


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
