"""`python -m recipebench.benchmarks.speed` times the suite; `compare` and `show` read what it saved."""

import sys

from recipebench.benchmarks.speed.command import main

if __name__ == "__main__":
    sys.exit(main())
