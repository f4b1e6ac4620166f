"""One check: a question with a name, an answer, a remedy and a time after which it is given up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from flowguard.errors import FlowguardError

State = Literal["ok", "warn", "fail"]
SECONDS = 15.0


@dataclass(frozen=True)
class Finding:
    """What one check found; `remedy` is what to do, empty where all is well."""

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Answer:
    """A state with what was found and what to do."""

    state: State
    found: str
    remedy: str = ""


def ok(found: str) -> Answer:
    """All is well."""
    return Answer("ok", found)


def warn(found: str, remedy: str) -> Answer:
    """It works, and may not for long or not for all."""
    return Answer("warn", found, remedy)


def fail(found: str, remedy: str) -> Answer:
    """It does not work."""
    return Answer("fail", found, remedy)


@dataclass(frozen=True)
class Check:
    """A question. `look` answers it, or raises the `FlowguardError` that its user would meet; then `remedy` is told.

    After a failed `gate` the checks behind it in its area are left out: they would say the same once more.
    """

    group: str
    name: str
    look: Callable[[], Answer]
    remedy: str = ""
    seconds: float = SECONDS
    gate: bool = False


def findings(area: Sequence[Check]) -> Iterator[Finding]:
    """What the checks find, one after the other; none takes longer than its seconds, whatever hangs."""
    for check in area:
        answer = _answered(check)
        yield Finding(check.group, check.name, answer.state, answer.found, answer.remedy)
        if check.gate and answer.state == "fail":
            return


def _answered(check: Check) -> Answer:
    given: list[Answer] = []

    def look() -> None:
        try:
            given.append(check.look())
        except FlowguardError as error:
            given.append(fail(str(error), check.remedy))
        except Exception as error:
            given.append(fail(f"{type(error).__name__}: {error}", check.remedy))

    # A thread that hangs must not keep the program from ending.
    thread = threading.Thread(target=look, name=f"doctor {check.name}", daemon=True)
    thread.start()
    thread.join(check.seconds)
    if not given:
        return fail(f"no answer within {check.seconds:.0f} seconds", check.remedy or "See what holds it up.")
    return given[0]
