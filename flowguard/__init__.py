"""flowguard: a density model of your tables that flags improbable records and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowguard.detector import FlowDetector as FlowDetector

__version__ = "0.1.0"
__all__ = ["FlowDetector", "__version__"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: importing flowguard stays fast and free of torch.
    if name == "FlowDetector":
        from flowguard.detector import FlowDetector

        return FlowDetector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
