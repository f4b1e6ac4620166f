"""Where the tensors live."""

from __future__ import annotations

import torch

from flowguard.errors import InputError


def choose_device(wish: str = "auto") -> torch.device:
    """The torch device for a wish: `auto` takes CUDA when there is one, otherwise the CPU.

    Raises `InputError` when CUDA is asked for and there is none.

    >>> choose_device("cpu")
    device(type='cpu')
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wish.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"resources.device: {wish} was asked for, but torch {torch.__version__} sees no CUDA device here. "
            "Use `device: auto` or `device: cpu`, or install a CUDA build of torch on a machine with a GPU."
        )
    return torch.device(wish)
