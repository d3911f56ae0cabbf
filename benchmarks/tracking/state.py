"""The state of tracking in one line, without importing wandb."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from recipebench.benchmarks.tracking.client import KEY, find_key
from recipebench.benchmarks.tracking.ledger import Ledger
from recipebench.benchmarks.tracking.tracker import FOLDER

SERVER = "https://api.wandb.ai"
"""The server where `WANDB_BASE_URL` names no other."""


def state(store: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Tell version, server, whether there is a key, and how many runs of a store wait for an upload.

    Args:
        store: the folder of the store.
        environment: variables to look for a key in.
    """
    url = environment.get("WANDB_BASE_URL") or SERVER
    key = "a key" if find_key(environment.get(KEY), url) else "no key, so runs are kept offline"
    waiting = len(Ledger(store / FOLDER).waiting())
    return f"wandb {metadata.version('wandb')}, {key} for {url}, {waiting} runs of {store} wait for an upload"
