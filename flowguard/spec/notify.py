"""The section `notify`: what people are told of a pipeline, and how often at most."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from flowguard.spec.section import Section, distinct, misfit

#: What can be told: records were flagged, the data changed, a batch is not there, one holds no record, a version failed
#: its gate or was promoted by it, a run failed.
Told = Literal["flagged", "drift", "late", "empty", "gate", "failed"]
TOLD: tuple[Told, ...] = get_args(Told)
_SPAN = re.compile(r"^(\d{1,4}) ?(m|h|d)$")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class NotifySection(Section):
    """What is told to the addresses of the setting `notify`; without any, nothing is."""

    on: Annotated[
        tuple[Told, ...],
        Field(strict=False),
        BeforeValidator(_listed, json_schema_input_type=Told | list[Told]),
        AfterValidator(distinct),
    ] = Field(default=TOLD, examples=[["flagged", "failed"]])
    """Of what: flagged, records that nobody has decided on; drift, an alarm (not with `drift.then: nothing`); late, a
    batch that is due is not there; empty, a batch holds no record; gate, a version failed its gate, or was promoted by
    it; failed, a scheduled run failed. `[]` for nothing. Default: all of them."""
    flagged: int = Field(default=1, ge=1, examples=[5])
    """From so many such records of a batch on."""
    every: str = Field(default="1h", examples=["30m", "12h", "1d"])
    """At most one message of each kind in this time: minutes, hours or days. What happens meanwhile is told in the
    next one. `0m`: as often as something happens."""

    @model_validator(mode="after")
    def _timed(self) -> NotifySection:
        if not _SPAN.match(self.every):
            raise misfit("every", repr(self.every), "a number and a unit, such as 30m, 1h or 1d")
        return self

    @property
    def span(self) -> dt.timedelta:
        """`every` as a time."""
        found = _SPAN.match(self.every)
        assert found is not None
        return dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
