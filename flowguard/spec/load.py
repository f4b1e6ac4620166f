"""Read a pipeline file, or say everything that is wrong with it."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flowguard.errors import PipelineError
from flowguard.spec.pipeline import NAME, Pipeline
from flowguard.spec.problems import Problem, cross_problems, problems_of, sentence
from flowguard.spec.yaml import Document, read_yaml


def load_pipeline(path: str | os.PathLike[str]) -> Pipeline:
    """The pipeline in a YAML file.

    Raises `PipelineError` with every problem at once, each with file, line, dotted key, what was found and
    what was expected.
    """
    path = Path(path)
    shown = str(path)
    document = read_yaml(path, shown=shown)
    if document.data is None:
        raise PipelineError(f"{shown} is empty: expected a pipeline with at least `source` and `columns`.")
    if not isinstance(document.data, dict):
        what = "a list" if isinstance(document.data, list) else repr(document.data)[:60]
        raise PipelineError(
            f"{shown}:1: found {what} at the top level; expected a mapping with `source` and `columns`."
        )
    nameless = "name" not in document.data and not re.match(NAME, path.stem)
    faults = []
    if nameless:
        found = f"nothing, and the file's stem, {path.stem!r}, cannot be the name"
        faults.append(Problem(("name",), f"found {found}; expected letters, digits, - and _, at most 100"))
    try:
        pipeline = Pipeline.model_validate({"name": "pipeline" if nameless else path.stem, **document.data})
        faults += cross_problems(pipeline)
    except ValidationError as error:
        faults += problems_of(error, document, json_schema())
    if faults:
        raise _refused(shown, document, faults)
    pipeline._path = path.resolve()
    return pipeline


def _refused(shown: str, document: Document, problems: list[Problem]) -> PipelineError:
    sentences = [sentence(shown, document, problem) for problem in problems]
    if len(sentences) == 1:
        return PipelineError(sentences[0])
    return PipelineError("\n".join([f"{shown} has {len(sentences)} problems:", *sentences]))


@cache
def json_schema() -> dict[str, Any]:
    """The JSON schema of a pipeline file. Editors take it from a first line `# yaml-language-server:
    $schema=...`."""
    schema = Pipeline.model_json_schema(by_alias=True)
    schema["properties"]["columns"] = _infer_or(schema["properties"]["columns"])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "flowguard pipeline",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _infer_or(node: dict[str, Any]) -> dict[str, Any]:
    reference = next(choice for choice in node["anyOf"] if "$ref" in choice)
    return {**node, "anyOf": [reference, {"const": "infer"}]}
