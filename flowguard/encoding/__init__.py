"""Tables to numbers and back: features with their exact log-derivatives, context as the network reads it."""

from __future__ import annotations

from flowguard.encoding.encoded import Encoded
from flowguard.encoding.encoder import Encoder
from flowguard.encoding.settings import ContextSettings, FeatureSettings

__all__ = ["ContextSettings", "Encoded", "Encoder", "FeatureSettings"]
