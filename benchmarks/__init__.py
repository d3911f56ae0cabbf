"""What is run: suite, cells, packs, records."""
