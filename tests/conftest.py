"""Shared by all tests: one thread, as in a worker, before anything is computed."""

import torch

import recipebench  # noqa: F401  (sets what MKL reads on its first use)

torch.set_num_threads(1)
