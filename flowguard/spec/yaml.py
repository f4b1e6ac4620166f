"""YAML to plain values that remember where in the file they stood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.timestamp import TimeStamp

from flowguard.errors import PipelineError

_MOST_NODES = 100_000  # aliases can make a small file expand without bound

At = tuple[Any, ...]


@dataclass
class Document:
    """A YAML file: its values, and the line (from 1) of every key and list item by path."""

    data: Any
    lines: dict[At, int] = field(default_factory=dict)

    def line(self, at: At) -> int:
        """The line of `at`, or of the nearest thing around it."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)


def read_yaml(path: Path, *, shown: str) -> Document:
    """Read one YAML document; raises `PipelineError` with file, line and column when it cannot be read."""
    if path.is_dir():
        raise PipelineError(f"{shown} is a folder; expected a pipeline file such as {shown}/flights.yaml.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise PipelineError(
            f"{shown}: there is no such file. `flowguard init DATA --out {shown}` drafts one from data."
        ) from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{shown} is not text in UTF-8 (byte {error.start}): expected a YAML file.") from None
    except OSError as error:
        raise PipelineError(f"{shown} cannot be read: {error.strerror or error}.") from None
    try:
        data = YAML(typ="rt").load(text)
    except DuplicateKeyError as error:
        line, column = _mark(error)
        what = str(error.problem or "").split(" with value")[0] or "a key that occurs twice"
        raise PipelineError(f"{shown}:{line}:{column}: {what}; expected each key once.") from None
    except MarkedYAMLError as error:
        line, column = _mark(error)
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        raise PipelineError(
            f"{shown}:{line}:{column}: this is not readable as YAML: {what or 'unknown fault'}. "
            "Look at the indentation, colons, quotes and brackets there (tabs cannot indent)."
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise PipelineError(f"{shown}:1:1: this is not readable as YAML: {first}.") from None
    document = Document(data=None)
    document.data = _plain(data, (), document, shown=shown)
    return document


def _mark(error: MarkedYAMLError) -> tuple[int, int]:
    mark = error.problem_mark or error.context_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _plain(node: Any, at: At, document: Document, *, shown: str) -> Any:
    if len(document.lines) > _MOST_NODES:
        raise PipelineError(f"{shown} expands to more than {_MOST_NODES} values: expected a pipeline file.")
    if isinstance(node, (Mapping, Sequence)) and not isinstance(node, (str, bytes)):
        out: Any
        if isinstance(node, Mapping):
            out = {}
            for key, value in node.items():
                place = (*at, key)
                document.lines[place] = _line_of(node, key, document.line(at))
                if not isinstance(key, str):
                    raise PipelineError(
                        f"{shown}:{document.lines[place]}: the key {key!r} is a {type(key).__name__}; "
                        f"expected text: put it in quotes."
                    )
                out[str(key)] = _plain(value, place, document, shown=shown)
        else:
            out = []
            for index, value in enumerate(node):
                place = (*at, index)
                document.lines[place] = _line_of(node, index, document.line(at))
                out.append(_plain(value, place, document, shown=shown))
        return out
    return _scalar(node)


def _line_of(node: Any, key: Any, fallback: int) -> int:
    try:
        position: Any = getattr(node, "lc", None)
        place = position.key(key) if isinstance(node, Mapping) else position.item(key)
        return int(place[0]) + 1
    except (AttributeError, KeyError, TypeError, IndexError):
        return fallback  # merged keys (<<) carry no position of their own


def _scalar(node: Any) -> Any:
    # ruamel's round-trip scalars are subclasses that remember their spelling; strict validation wants the
    # plain ones.
    if isinstance(node, ScalarBoolean):
        return bool(node)
    if isinstance(node, TimeStamp):
        return node.replace()
    for plain in (str, float):
        if isinstance(node, plain):
            return plain(node)
    if isinstance(node, int) and not isinstance(node, bool):
        return int(node)
    return node
