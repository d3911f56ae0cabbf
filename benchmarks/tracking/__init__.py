"""Every cell as a run of Weights & Biases, live or afterwards; wandb is imported in a child process only."""
