"""The contract of elementwise transformers."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Transformer(Protocol):
    """A strictly increasing scalar map whose parameters a conditioner predicts.

    `parameters` has one more axis than `x`, of length `size`; any real numbers are valid there, and zeros
    give the identity, or nearly so. The first parameter is the location (`affine.py`): conditioners add a direct
    linear path to it. A transformer holds no weights and works on any shape, dtype and device.
    """

    @property
    def size(self) -> int:
        """Parameters per feature."""
        ...

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x and log of the derivative there, both of x's shape."""
        ...

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        """The x whose image is y."""
        ...
