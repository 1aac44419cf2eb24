"""What computes a training: a GPU where there is one, the CPU elsewhere."""

import torch


def fastest() -> torch.device:
    """CUDA where torch finds it, with all bits of float32: what is embedded there is kept for both."""
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
