"""Tracking as the verbs use it: followed while cells train, closed after the report, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import yaml

from recipebench.benchmarks.cells import Cell
from recipebench.benchmarks.executor import Event
from recipebench.benchmarks.results import Results
from recipebench.benchmarks.suite import Suite, shipped
from recipebench.benchmarks.tracking.target import Tracking
from recipebench.benchmarks.tracking.tracker import Closing, Outcome, Tracker

Say = Callable[[str], None]
Source = str | Path | Mapping[str, object] | Suite


class Following:
    """A run that is tracked, or one that is not; called with its events.

    Args:
        tracker: what tracks it; None where nothing does.
        suite: the suite.
        text: the suite's file.
        say: told what a person should know.
    """

    def __init__(self, tracker: Tracker | None, suite: Suite, text: str, say: Say) -> None:
        self._tracker, self._suite, self._text, self._say = tracker, suite, text, say

    def watch(self, *others: Callable[[Event], None]) -> Callable[[Event], None]:
        """Return what tells every event to others, then to the tracker."""
        watchers: list[Callable[[Event], None]] = [*others, *([self._tracker] if self._tracker else [])]

        def tell(event: Event) -> None:
            for watcher in watchers:
                watcher(event)

        return tell

    def close(self, cells: Sequence[Cell], results: Results, out: Path, command: str) -> Outcome | None:
        """Write what has not been written, and the closing run, from a finished report; say so."""
        if self._tracker is None:
            return None
        outcome = self._tracker.close(
            Closing(
                name=self._suite.name,
                description=self._suite.description,
                text=self._text,
                out=out,
                command=command,
                endpoint=self._suite.endpoint,
                cells=cells,
                results=results,
            )
        )
        for line in outcome.lines():
            self._say(line)
        return outcome


@contextmanager
def following(
    tracking: Tracking | None, store: Path, suite: Suite, source: Source, say: Say
) -> Iterator[Following]:
    """Start the tracking process, if anything is tracked, and end it whatever happens.

    Args:
        tracking: where runs go; None tracks nothing.
        store: the folder of the store.
        suite: the suite.
        source: what the suite was read from.
        say: told what a person should know.
    """
    tracker = _tracker(tracking, store, suite, say) if tracking else None
    followed = Following(tracker, suite, text_of(source) if tracker else "", say)
    with tracker or nullcontext():
        yield followed


def _tracker(tracking: Tracking, store: Path, suite: Suite, say: Say) -> Tracker | None:
    """Start tracking; a machine on which no process can be started trains all the same."""
    try:
        return Tracker(tracking, store, suite.name, say)
    except OSError as error:
        say(f"W&B: no process can be started ({error}); nothing is tracked.")
        return None


def text_of(source: Source) -> str:
    r"""Return a suite as a file has it.

    Example:
        >>> text_of({"name": "tiny", "data": ["digits"]})
        'name: tiny\ndata:\n- digits\n'
    """
    if isinstance(source, Suite):
        return json.dumps(source.model_dump(), default=str, indent=2)
    if isinstance(source, Mapping):
        return yaml.safe_dump(json.loads(json.dumps(source)), sort_keys=False, allow_unicode=True)
    return Path(shipped().get(str(source), source)).read_text(encoding="utf-8")
