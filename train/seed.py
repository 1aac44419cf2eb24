"""One seed for everything random, and no algorithm that sums in another order each time."""

import os
import random

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seeds Python, NumPy and torch and asks torch for deterministic algorithms.

    With the same seed, data, library versions and number of threads, the weights are bit-identical.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA's cuBLAS needs for it
    torch.use_deterministic_algorithms(True)
    # Filling fresh memory with NaN finds defects, and costs a tenth of every step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
