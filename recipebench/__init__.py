"""recipebench: which training recipe wins, by how much, and can you trust the answer?"""

from __future__ import annotations

import os
from pathlib import Path

__version__ = "0.1.0"


def _ask_for_exact_matrix_products() -> None:
    """Ask MKL for results that do not depend on memory alignment; it listens until its first use."""
    cpuinfo = Path("/proc/cpuinfo")
    wide = cpuinfo.exists() and "avx512f" in cpuinfo.read_text()
    os.environ.setdefault("MKL_CBWR", "AVX512,STRICT" if wide else "AVX2,STRICT")


_ask_for_exact_matrix_products()

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "pyproject.toml").is_file() and (_checkout / "lightning_modules").is_dir():
    __path__.append(str(_checkout))  # a checkout holds the four folders beside this one
