"""A pipeline file: typed sections, defaults, errors with file and line, JSON schema for editors."""

from __future__ import annotations

from flowguard.spec.columns import (
    BooleanContext,
    CategoryContext,
    Columns,
    CyclicContext,
    IntegerContext,
    NumberContext,
    NumberFeature,
)
from flowguard.spec.load import json_schema, load_pipeline
from flowguard.spec.pipeline import Pipeline, Use
from flowguard.spec.sections import (
    ModelSection,
    OutputSection,
    PolicySection,
    ResourcesSection,
    ScheduleSection,
    SplitSection,
)
from flowguard.spec.source import Period, SourceSection

__all__ = [
    "BooleanContext",
    "CategoryContext",
    "Columns",
    "CyclicContext",
    "IntegerContext",
    "ModelSection",
    "NumberContext",
    "NumberFeature",
    "OutputSection",
    "Period",
    "Pipeline",
    "PolicySection",
    "ResourcesSection",
    "ScheduleSection",
    "SourceSection",
    "SplitSection",
    "Use",
    "json_schema",
    "load_pipeline",
]
