"""What a policy's plain JSON may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowguard.errors import CalibrationError


def only(given: Mapping[str, Any], *names: str) -> None:
    """CalibrationError where `given` lacks the first of `names` or has a key that is none of them."""
    unknown = sorted(str(key) for key in given if key not in names)
    if unknown or names[0] not in given:
        raise CalibrationError(f"a policy has the keys {', '.join(given) or 'none'}; expected {' and '.join(names)}")


def switch(given: Mapping[str, Any], name: str) -> bool:
    """The true or false of that name; false where it is not given."""
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise CalibrationError(f"{name} is {value!r}; expected true or false")
    return value


def rate(given: Mapping[str, Any], name: str) -> float:
    """The number of that name, a share."""
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise CalibrationError(f"{name} is {value!r}; expected a number between 0 and 1")
    return float(value)
