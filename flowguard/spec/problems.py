"""What is wrong with a pipeline file, in words: file, line, key, what was found, what was expected."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from flowguard.spec.pipeline import Pipeline
from flowguard.spec.yaml import At, Document

_BY_COLUMN = ("largest", "sum", "fisher", "higher_criticism")
"""The scores that look at each column by itself."""


@dataclass(frozen=True)
class Problem:
    """One fault: where it stands in the file and a sentence about it."""

    at: At
    words: str


def problems_of(error: ValidationError, document: Document, schema: dict[str, Any]) -> list[Problem]:
    """The problems that validation found, in the order of the file."""
    found: dict[tuple[At, str], list[str]] = {}
    for detail in error.errors(include_url=False):
        at, value, expected = _fault(dict(detail), document.data, schema)
        wanted = found.setdefault((at, value), [])
        if expected not in wanted:
            wanted.append(expected)  # each member of a union has its own expectation of one value
    problems = [Problem(at, f"found {value}; expected {' or '.join(wanted)}") for (at, value), wanted in found.items()]
    return sorted(problems, key=lambda problem: document.line(problem.at))


def cross_problems(pipeline: Pipeline) -> Iterator[Problem]:
    """Faults between sections, which no section can see alone."""
    source = pipeline.source
    hidden = [name for name in pipeline.columns.features if name in source.redact]
    for name in hidden:
        yield Problem(
            ("source", "redact"),
            f"found {name!r}, which is also a feature; expected columns that are context, key or unused: "
            "scores and reasons of a feature reveal its values",
        )
    model = pipeline.model
    for name, entry in pipeline.columns.context.items():
        if model.kernel and entry.kind != "category" and (entry.column or name) in source.redact:
            yield Problem(
                ("model", "kernel"),
                f"found {model.kernel}, and the column {entry.column or name!r} of the context {name!r} is redacted; "
                "expected 0, or no such entry: a model with a kernel holds records, and models go to MLflow",
            )
        if entry.kind == "category" and (entry.column or name) in source.redact:
            yield Problem(
                ("columns", "context", name),
                f"found a category whose column {entry.column or name!r} is redacted; expected another kind, or no "
                "such "
                "entry: a model holds the levels of its categories, and models go to MLflow",
            )
    if pipeline.score == "experts" and not model.kernel:
        yield Problem(
            ("score",),
            "found 'experts' with no `model.kernel`; expected a number there, such as 2000, or another score",
        )
    permuted = model.family == "maf" and model.order != "single"
    if pipeline.score in _BY_COLUMN and (permuted or model.family in ("realnvp", "continuous")):
        found = f"{model.family} in {model.order} order" if permuted else model.family
        yield Problem(
            ("score",),
            f"found {pipeline.score!r} with {found}; expected `family: maf` with `order: single`, or gaussian, whose "
            "columns have exact terms of their own, or another score",
        )
    for key in ("since", "until"):
        if getattr(pipeline.split, key) is not None and source.time is None:
            yield Problem(
                ("split", key),
                "found a day, but no `source.time`; expected the date or timestamp column it refers to",
            )


def sentence(shown: str, document: Document, problem: Problem) -> str:
    """`file:line: dotted.key: words.`"""
    key = ".".join(str(part) for part in problem.at)
    return f"{shown}:{document.line(problem.at)}: {key + ': ' if key else ''}{problem.words}."


def _fault(detail: dict[str, Any], data: Any, schema: dict[str, Any]) -> tuple[At, str, str]:
    """Where a fault is, what was found there, and what was expected."""
    kind, loc = detail["type"], detail["loc"]
    context = detail.get("ctx", {})
    if kind == "misfit":
        return (*_real(loc, data), *context["key"]), context["found"], context["expected"]
    if kind == "union_tag_invalid":
        return (*_real(loc, data), "kind"), repr(context["tag"]), f"one of {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return (*_real(loc, data), "kind"), "nothing", f"one of {_KINDS}"
    at = _real(loc, data, keep_last=kind in ("missing", "extra_forbidden"))
    node = _schema_at(schema, at[:-1] if kind in ("missing", "extra_forbidden") else at, data)
    if kind == "extra_forbidden":
        known = list(node.get("properties", {}))
        near = difflib.get_close_matches(str(at[-1]), known, n=1, cutoff=0.5)
        hint = f" (did you mean `{near[0]}`?)" if near else ""
        return at, f"an unknown key{hint}", f"one of {', '.join(known) or 'no keys here'}"
    if kind == "missing":
        wanted = node.get("properties", {}).get(at[-1], {})
        return at, "nothing", _described(wanted)
    return at, _shown(_value_at(data, at, detail["input"])), _expected(kind, context, node)


def _real(loc: tuple[Any, ...], data: Any, *, keep_last: bool = False) -> At:
    """The path in the file for pydantic's `loc`, which also holds the names of union members."""
    at: list[Any] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        inside = (isinstance(data, Mapping) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            data = data[part]
            at.append(part)
        elif last and keep_last:
            at.append(part)
    return tuple(at)


def _value_at(data: Any, at: At, fallback: Any) -> Any:
    for part in at:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return fallback
    return data


def _schema_at(schema: dict[str, Any], at: At, data: Any) -> dict[str, Any]:
    """The JSON schema that holds at a path; {} where there is none."""
    node = _member(schema, schema, data)
    for part in at:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        if not isinstance(node, dict):
            return {}
        node = _member(node, schema, data)
    return node


def _member(node: dict[str, Any], schema: dict[str, Any], data: Any) -> dict[str, Any]:
    """Follow references, and of a union the member that `data` means."""
    while True:
        if "$ref" in node:
            target = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
            node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
            continue
        choices = node.get("anyOf") or node.get("oneOf")
        if not choices:
            return node
        mapping = node.get("discriminator", {}).get("mapping", {})
        kind = data.get("kind") if isinstance(data, Mapping) else data
        if isinstance(kind, str) and kind in mapping:
            node = {"$ref": mapping[kind]}
            continue
        rest = {k: v for k, v in node.items() if k not in ("anyOf", "oneOf", "discriminator")}
        shapes = [_member(choice, schema, data) for choice in choices]
        wanted = "object" if isinstance(data, Mapping) else "array" if isinstance(data, list) else None
        fitting = [
            shape
            for shape in shapes
            if (wanted and shape.get("type") == wanted)
            or (isinstance(data, str) and shape.get("properties", {}).get("kind", {}).get("const") == data)
        ]
        if not fitting:
            return {**rest, "choices": shapes}
        return {**fitting[0], **rest}


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."


_KINDS = "'number', 'integer', 'boolean', 'category', 'cyclic'"

_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text (put it in quotes if it looks like a number or a date)",
    "bool_type": "true or false",
    "date_type": "a day, such as 2013-05-01",
    "date_from_datetime_inexact": "a day without a time, such as 2013-05-01",
    "tuple_type": "a list",
    "dict_type": "a mapping of names",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "finite_number": "a finite number",
}


def _expected(kind: str, context: dict[str, Any], node: dict[str, Any]) -> str:
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
        # A setting that may be left out is a number or null.
        node = next((one for one in node.get("choices", []) if one.get("type") != "null"), node)
        bounds = {
            "gt": node.get("exclusiveMinimum"),
            "ge": node.get("minimum"),
            "lt": node.get("exclusiveMaximum"),
            "le": node.get("maximum"),
        }
        given = {k: v for k, v in bounds.items() if v is not None} or context
        return "a number " + " and ".join(f"{words[k]} {v}" for k, v in given.items() if k in words)
    if kind == "string_pattern_mismatch":
        return "letters, digits, - and _, beginning with a letter or a digit, at most 100"
    if kind in ("string_too_short", "too_short"):
        return "something, not an empty " + ("list" if kind == "too_short" else "text")
    return _TYPES.get(kind) or _described(node)


def _described(node: dict[str, Any]) -> str:
    words = str(node.get("description", "another value")).split("\n")[0].split(". ")[0].rstrip(".")
    words = words[:1].lower() + words[1:]
    examples = node.get("examples")
    return words + (f" (for example {json.dumps(examples[0], default=str)})" if examples else "")
