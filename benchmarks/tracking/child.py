"""The tracking process: reads what happens as lines of JSON, and writes runs of Weights & Biases.

Run as `python -m recipebench.benchmarks.tracking.child`; the tracker starts it. Nobody waits for it while
cells train, and nothing that becomes of it touches them. Messages, by their key `do`:

```
start   folder, suite, tracking          opens the session; comes first
open    cells                            the runs of a pack that is being trained
rows    rows                             what an epoch has brought, by cell
done    cells                            [record, rows, description] of each: their runs are finished
drop    cells                            ids of runs that are given up
lacking versions                         answered by the runs that are not written yet: {kind: lacking}
suite   run, version, config, text …     the closing run
end                                      answered by what has become of all: {kind: end}
```

Answers go to the descriptor that was standard output; `{kind: note}` is something to tell a person, and
`{kind: alive}` says that it is still at work.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from recipebench.benchmarks.tracking import client
from recipebench.benchmarks.tracking.session import Session
from recipebench.benchmarks.tracking.target import Tracking, settle
from recipebench.benchmarks.tracking.uploads import Uploads, answers

Message = dict[str, Any]

NICENESS = 10
"""How far this process stands back behind those that train."""

SIGN_OF_LIFE = 1.0
"""Seconds between two signs of life, at least."""

LAST_GRACE = 1.0
"""Seconds that wandb's service is given to end in order; every run is in its files long before."""


def main() -> None:
    """Serve until told to end, or until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin, messages), daemon=True).start()
    send = _sender()
    first = messages.get()
    if first is not None:
        _serve(_session(first, send), messages, send)
        _leave()


def _read(source: TextIO, messages: queue.SimpleQueue[Message | None]) -> None:
    for line in source:
        if line.endswith("\n"):
            messages.put(json.loads(line))
    messages.put(None)


def _sender() -> Callable[[Message], None]:
    """Keep standard output for messages; what wandb prints goes to standard error."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: Message) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    return send


def _session(first: Message, send: Callable[[Message], None]) -> Session:
    folder = Path(first["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    asked = dict(os.environ)
    given = client.prepare(folder, os.environ)
    import wandb

    settings = wandb.setup(settings=wandb.Settings(silent=True)).settings
    key = client.find_key(given, settings.base_url)
    token = settings.identity_token_file
    target = settle(Tracking(**first["tracking"]), asked, can_log_in=bool(key or token))
    if target.mode == "shared" and not answers(settings.base_url):
        target = replace(target, mode="offline", note="the server does not answer, so runs are kept offline")
    if target.note:
        send({"kind": "note", "text": target.note})
    uploads = None
    if target.mode == "online":
        uploads = Uploads(folder, settings.base_url, key)
    send({"kind": "started", "mode": target.mode})

    def say(text: str) -> None:
        send({"kind": "note", "text": text})

    return Session(folder, target, first["suite"], say, key=key, uploads=uploads)


def _serve(
    session: Session, messages: queue.SimpleQueue[Message | None], send: Callable[[Message], None]
) -> None:
    spoken = time.monotonic()
    while (message := messages.get()) is not None:
        match message["do"]:
            case "open":
                session.open(message["cells"])
            case "rows":
                session.rows(message["rows"])
            case "done":
                for record, rows, described in message["cells"]:
                    session.done(record, rows, described)
            case "drop":
                session.drop(message["cells"])
            case "lacking":
                send({"kind": "lacking", "runs": session.lacking(message["versions"])})
            case "suite":
                session.close_suite(message)
            case "end":
                send({"kind": "end", **session.end(lambda: send({"kind": "alive"}))})
                return
        if time.monotonic() - spoken > SIGN_OF_LIFE:
            spoken = time.monotonic()
            send({"kind": "alive"})
    session.drop_all()


def _leave() -> None:
    """End wandb's service in order; and at once, if it hangs on a server."""
    import wandb

    ending = threading.Thread(target=wandb.teardown, daemon=True)
    ending.start()
    ending.join(LAST_GRACE)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
