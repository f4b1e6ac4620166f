"""From the pipeline file's words to what the encoder and the density are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from flowguard.calibration import Aging, Policy, read_policy
from flowguard.detector import Columns, Engine
from flowguard.encoding import ContextSettings, FeatureSettings
from flowguard.errors import SchemaError
from flowguard.spec import Pipeline
from flowguard.tables import Source, Wanted, check_columns
from flowguard.training import TrainingSettings


def checked_schema(pipeline: Pipeline, source: Source) -> pa.Schema:
    """The source's schema, once every column that the pipeline names is in it with a type that fits.

    Raises one `SchemaError` with everything that is wrong, also when a redacted column names the files.
    """
    schema = source.schema()
    check_columns(schema, Wanted.gather(pipeline.uses()), where=source.describe())
    named = [name for name in pipeline.source.redact if name in source.in_names]
    if named:
        raise SchemaError(
            f"{pipeline.path.name}: source.redact names {named[0]!r}, whose values are the names of folders, "
            "which every log and report shows. Partition the data by another column."
        )
    return schema


def columns_of(pipeline: Pipeline, schema: pa.Schema) -> Columns:
    """What each column means to the model, with the types found in the data."""
    features = {
        name: FeatureSettings(**_feature(entry.model_dump())) for name, entry in pipeline.columns.features.items()
    }
    context = {
        name: ContextSettings(**_context(entry.model_dump())) for name, entry in pipeline.columns.context.items()
    }
    read = list(features) + [settings.column or name for name, settings in context.items()]
    return Columns(
        features=features,
        context=context,
        types={name: str(schema.field(name).type) for name in dict.fromkeys(read)},
        key=list(pipeline.source.key),
        redact=list(pipeline.source.redact),
        units={name: entry.unit for name, entry in pipeline.columns.features.items() if entry.unit},
    )


def architecture_of(pipeline: Pipeline) -> dict[str, Any]:
    """The density's shape, as `RecordDensity.build` reads it: None is left to the size of the table."""
    model = pipeline.model
    common: dict[str, Any] = {"family": model.family} | ({"kernel": model.kernel} if model.kernel else {})
    if model.family == "continuous":
        return {**common, "hidden": model.hidden, "steps": model.steps, "noise": model.noise}
    if model.family == "gaussian":
        return common
    shape: dict[str, Any] = {
        **common,
        "transformer": model.transformer,
        "order": model.order,
        "layers": model.layers,
        "hidden": model.hidden,
        "dropout": model.dropout,
        "noise": model.noise,
    }
    own = {"spline": {"bins": model.bins}, "mixture": {"components": model.components}}
    more = {"orders": model.orders} if model.family == "maf" else {"mixing": model.mixing}
    return shape | own.get(model.transformer, {}) | more


def training_of(pipeline: Pipeline) -> TrainingSettings:
    """How the density is trained."""
    model = pipeline.model
    return TrainingSettings(
        epochs=model.epochs,
        batch_size=model.batch_size,
        learning_rate=model.learning_rate,
        weight_decay=model.weight_decay,
        patience=model.patience,
        clip=model.clip,
        contamination=model.contamination,
        seed=model.seed,
    )


def policy_of(pipeline: Pipeline) -> Policy:
    """What is flagged by versions that are yet to be made."""
    return read_policy(pipeline.policy.rule()).afresh()


def aging_of(pipeline: Pipeline) -> Aging | None:
    """How calibration records count by their age; None where all count alike."""
    given = pipeline.calibration
    return Aging(given.half_life, given.window) if given.rolls else None


def engine_of(pipeline: Pipeline) -> Engine:
    """How scores are computed."""
    return Engine(tile=pipeline.resources.tile)


def _feature(entry: Mapping[str, Any]) -> dict[str, Any]:
    kind = "category" if entry["kind"] == "boolean" else entry["kind"]
    return {**{name: value for name, value in entry.items() if name != "unit"}, "kind": kind}


def _context(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if value is not None}
