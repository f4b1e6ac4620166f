"""Flag policies: the rules that turn p-values into flags, behind one contract, read by the word in a pipeline file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowguard.calibration.policy.budget import Budget
from flowguard.calibration.policy.false_alarm_rate import FalseAlarmRate
from flowguard.calibration.policy.false_discovery_rate import FalseDiscoveryRate
from flowguard.calibration.policy.policy import Decision, History, Policy
from flowguard.errors import CalibrationError

POLICIES: Mapping[str, type[Policy]] = {policy.name: policy for policy in (FalseAlarmRate, FalseDiscoveryRate, Budget)}
"""Every policy by its name."""


def read_policy(given: Mapping[str, Any]) -> Policy:
    """The policy of plain JSON such as {"fdr": 0.05, "pooled": true}; CalibrationError where it names none, or two.

    >>> read_policy({"budget": 50})
    Budget(count=50, extrapolate=False)
    """
    named = [name for name in POLICIES if name in given]
    if len(named) != 1:
        found = ", ".join(str(key) for key in given) or "none"
        raise CalibrationError(f"a policy is one of {', '.join(POLICIES)}; the keys are {found}")
    return POLICIES[named[0]].from_dict(given)


__all__ = [
    "POLICIES",
    "Budget",
    "Decision",
    "FalseAlarmRate",
    "FalseDiscoveryRate",
    "History",
    "Policy",
    "read_policy",
]
