"""`python -m recipebench` is the command."""

from recipebench.benchmarks.cli import main

if __name__ == "__main__":
    main()
