"""Checks definitions against the published schema of Vega-Lite, which altair brings along."""

from __future__ import annotations

from functools import cache
from typing import Any

import altair
import jsonschema.exceptions

from recipebench.reports.vega_lite import Spec, definition


@cache
def _validator() -> Any:
    return jsonschema.Draft7Validator(altair.vegalite.v6.load_schema())  # type: ignore[attr-defined]


def valid(view: Spec) -> Spec:
    """Return a view or a whole definition; fail, with what is wrong, if it is no valid Vega-Lite."""
    whole = view if "$schema" in view else definition(view, [])
    wrong = jsonschema.exceptions.best_match(_validator().iter_errors(whole))
    assert wrong is None, f"{wrong.json_path}: {wrong.message[:300]}"
    return view
