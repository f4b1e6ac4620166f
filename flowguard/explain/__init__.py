"""Why a record is improbable: shares of its columns, expected ranges, reasons in words.

`replaced`, `expected`, `answers` and `pairs` need torch and are imported by themselves.
"""

from __future__ import annotations

from flowguard.explain.reason import Reason, reasons_for
from flowguard.explain.shares import Baseline, column_terms

__all__ = ["Baseline", "Reason", "column_terms", "reasons_for"]
