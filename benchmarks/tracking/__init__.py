"""Tracking: every cell a run of Weights & Biases, as it trains or afterwards; imports wandb only in a child."""
