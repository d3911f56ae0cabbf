"""Pure functions on arrays and frames: intervals, effects, families, ranks, shares of variance, profiles."""
