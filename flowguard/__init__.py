"""flowguard: a density model of your tables that flags improbable records and says why."""

from __future__ import annotations

__version__ = "0.1.0"
