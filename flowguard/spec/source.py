"""The `source` section: where the records are, how they are cut into batches, what identifies one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from flowguard.spec.section import Day, Name, Names, Section, distinct, misfit

OUTPUT_COLUMNS = frozenset(
    [
        "record_id",
        "log_likelihood",
        "log_density",
        "log_mass",
        "score",
        "p_value",
        "extrapolated",
        "group",
        "flag",
        "reason",
        "batch",
        "version",
        "reasons",
    ]
)
"""What scores, quarantine and lists of flagged records call their own columns, beside those of the key."""

DistinctNames = Annotated[Names, AfterValidator(distinct)]


class Period(Section):
    """A known-bad period [from, until) that is never used to fit or to calibrate."""

    from_: Day = Field(alias="from", examples=["2013-02-08"])
    """First day of the period."""
    until: Day = Field(examples=["2013-02-10"])
    """First day after the period."""
    why: str = ""
    """The reason, for whoever reads the file later."""

    @model_validator(mode="after")
    def _ordered(self) -> Period:
        if self.from_ >= self.until:
            raise misfit("until", f"{self.until}, not after from ({self.from_})", "a day after `from`")
        return self


class SourceSection(Section):
    """Parquet files (`path`), or a DuckDB query over Parquet tables (`tables` and `query`)."""

    path: Names | None = Field(default=None, examples=["data/*.parquet", "s3://bucket/orders/"])
    """A Parquet file, a folder of them, a glob, or a list of these; local or s3://. Relative paths start at
    the project folder."""
    tables: dict[Name, Names] | None = Field(default=None, examples=[{"orders": "data/orders/*.parquet"}])
    """Names usable in `query`, each with the Parquet file, folder or glob it stands for."""
    query: Name | None = Field(default=None, examples=["SELECT * FROM orders JOIN customers USING (customer)"])
    """One DuckDB SELECT over `tables`; its rows are the records."""
    batch: Literal["file", "partition", "day"] = "file"
    """What is scored together: each file, each Hive partition (folders named day=2026-11-01), or each day of
    `time`. A query has days only."""
    time: Name | None = Field(default=None, examples=["created_at"])
    """The date or timestamp column; needed for daily batches and for every `since`, `until` and `exclude`."""
    key: DistinctNames = Field(default=(), examples=[["order_id"]])
    """The columns that identify a record; shown in every output. Without a key a record is known by its
    content."""
    exclude: Annotated[tuple[Period, ...], Field(strict=False)] = ()
    """Known-bad periods, never used to fit or to calibrate; they are scored like any other."""
    redact: DistinctNames = ()
    """Columns whose values never reach logs, reports, MLflow or Prefect. They may be context or key, not
    features."""

    @model_validator(mode="before")
    @classmethod
    def _default_batch(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("query") is not None and "batch" not in data:
            return {**data, "batch": "day"}
        return data

    @model_validator(mode="after")
    def _one_place(self) -> SourceSection:
        if self.path is not None and (self.query is not None or self.tables is not None):
            raise misfit("path", "`path` beside `query` or `tables`", "either `path`, or `tables` and `query`")
        if self.path is None and self.query is None:
            raise misfit("", "neither `path` nor `query`", "`path`, or `tables` and `query`")
        if self.query is not None and not self.tables:
            raise misfit("query", "a query without `tables`", "`tables` that name the Parquet files it reads")
        if self.query is not None and self.batch != "day":
            raise misfit("batch", repr(self.batch), "`day`: the batches of a query are its days")
        if self.path is not None and not self.path:
            raise misfit("path", "an empty list", "at least one Parquet file, folder or glob")
        if self.batch == "day" and self.time is None:
            raise misfit("time", "nothing", "the date or timestamp column that daily batches are cut by")
        if self.exclude and self.time is None:
            raise misfit("time", "nothing", "the date or timestamp column that `exclude` refers to")
        if taken := [name for name in self.key if name in OUTPUT_COLUMNS]:
            raise misfit("key", repr(taken[0]), "no column of the output's own: rename it, for instance in a query")
        if self.batch == "day" and self.time in self.redact:
            raise misfit("redact", f"the time column {self.time!r}", "another column: days name the batches")
        return self
