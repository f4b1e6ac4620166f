"""Lists of records: what an address asks for, and the addresses that ask for something else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlencode

from fastapi import Request
from starlette.exceptions import HTTPException

from flowguard.explain.words import visible
from flowguard.store import KINDS, ORDERS, STATES, Wanted
from flowguard.store.queued import Kind, Order, State

PER_PAGE = 25
#: Of an address; a list is looked through by filters, not by turning a thousand pages.
MOST_PAGES = 100_000
_CONTEXT = "in."


@dataclass(frozen=True)
class Listing:
    """A list of a pipeline's records as its address asks for it."""

    pipeline: str
    wanted: Wanted
    page: int = 1
    case: bool = False  # whether it is the page of a case, not its batch limited to one

    @property
    def skip(self) -> int:
        """Records on the pages before."""
        return (self.page - 1) * PER_PAGE

    @property
    def base(self) -> str:
        """The list's path without filters: that of its case, of its batch, or of all records."""
        root, wanted = f"/p/{quote(self.pipeline, safe='')}", self.wanted
        if self.case and wanted.case_id is not None:
            return f"{root}/cases/{quote(wanted.case_id, safe='')}"
        return f"{root}/batches/{quote(wanted.batch)}" if wanted.batch is not None else f"{root}/records"

    def query(self, *, page: int = 1, batch: bool = False) -> str:
        """The filters as the part of an address after its `?`."""
        return urlencode(_query(self.wanted, page=page, batch=batch))

    def href(self, *, page: int = 1) -> str:
        """The address of this list."""
        found = _query(self.wanted, page=page, batch=self.case)
        if self.case:
            del found["case"]
        return f"{self.base}?{urlencode(found)}" if found else self.base

    def record_href(self, record_id: str, batch: str) -> str:
        """The address of one of its records, which remembers the list it was reached from."""
        query = _query(self.wanted) | {"batch": batch}
        if self.wanted.batch is None:
            query["all"] = "1"
        return f"/p/{quote(self.pipeline, safe='')}/records/{quote(record_id, safe='')}?{urlencode(query)}"

    @property
    def hidden(self) -> dict[str, str]:
        """The filters as fields of a form."""
        return _query(self.wanted)

    @property
    def filtered(self) -> bool:
        """Whether anything is asked for beside the batch."""
        return bool(self.hidden.keys() - {"order"})


def listing(request: Request, pipeline: str, *, batch: str | None = None) -> Listing:
    """Read the filters of an address; 400 for a value that is none."""
    query = request.query_params
    context = {name.removeprefix(_CONTEXT): query[name] for name in query if name.startswith(_CONTEXT) and query[name]}
    wanted = Wanted(
        batch=batch,
        kind=cast(Kind, _one_of("kind", query.get("kind") or "flagged", KINDS)),
        state=cast(State, _one_of("state", query["state"], STATES)) if query.get("state") else None,
        case_id=query.get("case") or None,
        column=query.get("column") or None,
        version=_whole("version", query["version"]) if query.get("version") else None,
        context=context,
        p_least=_number("p_least", query["p_least"]) if query.get("p_least") else None,
        p_most=_number("p_most", query["p_most"]) if query.get("p_most") else None,
        text=visible((query.get("q") or "").strip()[:200]),  # as keys are written in the queue
        order=cast(Order, _one_of("order", query.get("order") or "strangest", ORDERS)),
    )
    page = _whole("page", query["page"]) if query.get("page") else 1
    if not 1 <= page <= MOST_PAGES:
        raise HTTPException(400, f"page is {page}; expected 1 to {MOST_PAGES:,}.")
    return Listing(pipeline, wanted, page)


def _query(wanted: Wanted, *, page: int = 1, batch: bool = False) -> dict[str, str]:
    names: dict[str, Any] = {
        "kind": None if wanted.kind == "flagged" else wanted.kind,
        "state": wanted.state,
        "case": wanted.case_id,
        "column": wanted.column,
        "version": wanted.version,
        "p_least": wanted.p_least,
        "p_most": wanted.p_most,
        "q": wanted.text or None,
        "order": None if wanted.order == "strangest" else wanted.order,
        **{f"{_CONTEXT}{name}": value for name, value in wanted.context.items()},
        **({"batch": wanted.batch} if batch else {}),
        "page": page if page > 1 else None,
    }
    return {name: str(value) for name, value in names.items() if value is not None}


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise HTTPException(400, f"{name} is {value[:40]!r}; expected one of {', '.join(known)}.")
    return value


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise HTTPException(400, f"{name} is {value[:40]!r}; expected a whole number.")
    return int(value)


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise HTTPException(400, f"{name} is {value[:40]!r}; expected a number such as 0.0001.")
    return number
