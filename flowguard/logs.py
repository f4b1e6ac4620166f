"""Log lines: for people, or as JSON for what collects them; each with the run, pipeline, batch and version it is about.

Doors call `configure` once. Stages are `scoped`, and say in `note` what they work on: whatever is logged inside, by
flowguard or by a library, carries it. Passwords in addresses are hidden.
"""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, Literal, ParamSpec, TextIO, TypeVar

from pythonjsonlogger.json import JsonFormatter

from flowguard.settings import masked

FIELDS = ("run", "pipeline", "batch", "version")
"""What every line says it is about; null where it is about none, or about all."""

Form = Literal["text", "json"]
_P = ParamSpec("_P")
_T = TypeVar("_T")
_scope: ContextVar[MutableMapping[str, Any] | None] = ContextVar("flowguard_scope", default=None)
_PROCESS = uuid.uuid4().hex


class _State:
    form: Form = "text"
    run: Callable[[], str | None] = staticmethod(lambda: None)


def configure(form: Form = "text", level: str | None = None) -> None:
    """Send the log to standard error in this form, from `level` on: by default warnings for people, info for JSON.

    May be called again. Of other libraries only warnings are logged. Text leaves alone what a host program has set up.
    """
    _State.form = form
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, Stderr)]:
        root.removeHandler(handler)
    logging.getLogger("flowguard").setLevel((level or ("info" if form == "json" else "warning")).upper())
    if form == "json":
        _take_over()
        logging.captureWarnings(True)
    elif root.handlers:
        return
    root.addHandler(Stderr(form))


def as_json() -> bool:
    """Whether standard error is for machines."""
    return _State.form == "json"


def runs_from(ask: Callable[[], str | None]) -> None:
    """Who knows the id of the run at hand; without it, and where it says None, all lines of a process have one id."""
    _State.run = staticmethod(ask)


def scoped(stage: Callable[_P, _T]) -> Callable[_P, _T]:
    """A stage in a scope of its own: what it notes holds until it returns, within what its caller noted."""

    @wraps(stage)
    def inside(*args: _P.args, **named: _P.kwargs) -> _T:
        with scope():
            return stage(*args, **named)

    return inside


@contextmanager
def scope(**fields: Any) -> Iterator[None]:
    """Lines inside the block are about `fields`, and about what is noted there."""
    token = _scope.set({**(_scope.get() or {}), **fields})
    try:
        yield
    except Exception as error:
        # The door that tells of it stands outside; the innermost scope knows best.
        if not hasattr(error, "log_fields"):
            error.log_fields = dict(_scope.get() or {})  # type: ignore[attr-defined]
        raise
    finally:
        _scope.reset(token)


def note(**fields: Any) -> None:
    """From here to the end of the scope lines are about these; outside of any scope nothing happens."""
    current = _scope.get()
    if current is not None:
        current.update(fields)


def fields_of(error: BaseException) -> dict[str, Any]:
    """What the stage was working on that raised `error`, as `extra` of the line that tells of it."""
    return dict(getattr(error, "log_fields", {}))


class Stderr(logging.StreamHandler[TextIO]):
    """Standard error, whichever that is at the moment.

    Prefect takes handlers whose class begins with _ for its own, and replaces them.
    """

    def __init__(self, form: Form) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_Json() if form == "json" else _Text())

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        _complete(record)
        super().emit(record)


class _Json(JsonFormatter):
    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message", *FIELDS],
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "error"},
            timestamp="time",
            json_ensure_ascii=False,
        )

    def formatException(self, ei: Any) -> str:
        return masked(str(super().formatException(ei)))


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s%(about)s")

    def format(self, record: logging.LogRecord) -> str:
        about = [f"{name} {value}" for name in FIELDS[1:] if (value := getattr(record, name, None)) is not None]
        record.about = f" [{', '.join(about)}]" if about else ""
        return super().format(record)

    def formatException(self, ei: Any) -> str:
        return masked(super().formatException(ei))


def _complete(record: logging.LogRecord) -> None:
    """Give the record what it is about, unless who logged it said so, and hide its passwords."""
    known = _scope.get() or {}
    for name in FIELDS:
        if not hasattr(record, name):
            setattr(record, name, known.get(name))
    if record.run is None:  # type: ignore[attr-defined]
        record.run = _State.run() or _PROCESS
    record.msg, record.args = masked(record.getMessage()), None


def _take_over() -> None:
    """Lines of Prefect's console, and of servers that have one of their own, go the way of all others."""
    for name in ("", *logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if type(handler).__name__ in ("PrefectConsoleHandler", "_SafeStreamHandler"):
                logger.removeHandler(handler)
                logger.propagate = True
