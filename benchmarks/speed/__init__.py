"""How fast it is: ratios measured side by side."""
