"""Do the clocks of this machine and of a server agree? Schedules, journals and S3's signatures suppose so."""

from __future__ import annotations

from datetime import datetime

from flowguard.stages.doctor.finding import Answer, fail, ok, warn

DOUBTFUL, WRONG = 5.0, 60.0
_REMEDY = "Let a time server set both clocks: timedatectl set-ntp true."


def clock(skew: float | None, whose: str) -> Answer:
    """What a difference of so many seconds means; None where there is no other clock.

    >>> clock(-90.0, "the server").found
    'the clock of the server is 90 seconds behind'
    """
    if skew is None:
        return ok(f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}, this machine's own")
    if abs(skew) < DOUBTFUL:
        return ok(f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}, as {whose} has it")
    found = f"the clock of {whose} is {abs(skew):,.0f} seconds {'ahead' if skew > 0 else 'behind'}"
    return fail(found, _REMEDY) if abs(skew) >= WRONG else warn(found, _REMEDY)
