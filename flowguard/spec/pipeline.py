"""A pipeline: the typed contents of one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from flowguard.spec.columns import Columns, CyclicContext
from flowguard.spec.notify import NotifySection
from flowguard.spec.promote import PromoteSection
from flowguard.spec.retention import RetentionSection
from flowguard.spec.section import Section, misfit
from flowguard.spec.sections import (
    CalibrationSection,
    DriftSection,
    ModelSection,
    OutputSection,
    PolicySection,
    ResourcesSection,
    ScheduleSection,
    SplitSection,
    VerdictsSection,
)
from flowguard.spec.source import SourceSection

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$"


def project_of(path: Path) -> Path:
    """The project folder of the pipeline file at `path`, also where it cannot be read; see `Pipeline.root`."""
    return path.parent.parent if path.parent.name == "pipelines" else path.parent


class Use(NamedTuple):
    """A raw column that the pipeline needs: its name, the kind it must be, and the key of the file that says
    so."""

    column: str
    kind: str
    where: str


def _inferred(value: Any) -> Any:
    if value == "infer":
        return Columns.model_construct(features={}, context={})
    if isinstance(value, str):
        raise misfit("", repr(value), "a mapping of features and context, or `infer`")
    return value


class Pipeline(Section):
    """One pipeline file: where the data is, what its columns mean, which model, which policy, which
    schedule."""

    name: str = Field(default="", pattern=NAME, examples=["flights"])
    """Names the outputs, the registered model and the schedule: letters, digits, - and _. Default: the file's
    name."""
    description: str = ""
    """What this pipeline watches, in a sentence."""
    source: SourceSection
    """Where the records are, how they are cut into batches, what identifies one."""
    columns: Annotated[Columns, BeforeValidator(_inferred, json_schema_input_type=Columns | str)]
    """What is modelled (features) and what it is conditioned on (context), or `infer`."""
    split: SplitSection = SplitSection()
    """Which records are used to fit, and how they are dealt out."""
    model: ModelSection = ModelSection()
    """The density and how it is trained."""
    score: Literal[
        "default", "log_likelihood", "mixed", "largest", "typicality", "sum", "fisher", "higher_criticism", "experts"
    ] = "default"
    """What records are ranked by: log_likelihood (default where all is plain numbers), mixed (default otherwise), the
    largest column, typicality (too high a density is odd as well), a sum, fisher or higher_criticism of columns, or
    what the experts of `model.kernel` say together (default where that is set)."""
    policy: PolicySection = PolicySection()
    """What is flagged."""
    calibration: CalibrationSection = CalibrationSection()
    """Among which records others are ranked."""
    verdicts: VerdictsSection = VerdictsSection()
    """What people's verdicts have to do with the versions to come."""
    drift: DriftSection = DriftSection()
    """When the data is said to have changed, and what follows."""
    notify: NotifySection = NotifySection()
    """What people are told, and how often at most; to whom is a setting."""
    promote: PromoteSection = PromoteSection()
    """What a new version must show before it may score, and who lets it."""
    output: OutputSection = OutputSection()
    """What is written."""
    schedule: ScheduleSection | None = None
    """When new batches are scored; without it, when a person or another program says so."""
    retention: RetentionSection = RetentionSection()
    """How long what runs leave is kept."""
    resources: ResourcesSection = ResourcesSection()
    """What a run may use."""

    _path: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _groups(self) -> Pipeline:
        known = [
            name for name, entry in self.columns.context.items() if entry.kind in ("category", "boolean", "integer")
        ]
        for name in self.policy.per:
            if name == "pattern":
                continue
            if name not in known:
                some = (
                    f"a category, boolean or integer of columns.context ({', '.join(known)})" if known else "none here"
                )
                raise misfit(("policy", "per"), repr(name), f"{some}, or `pattern`")
            if (self.columns.context[name].column or name) in self.source.redact:
                raise misfit(("policy", "per"), f"{name!r}, which is redacted", "a column whose values may be shown")
        return self

    @model_validator(mode="after")
    def _ranked(self) -> Pipeline:
        calibration, policy = self.calibration, self.policy
        asked = [name for name in ("window", "half_life") if getattr(calibration, name) is not None]
        if calibration.ties == "random":
            asked.append("ties")
        if not asked:
            return self
        where, rule = ("calibration", asked[0]), f"`{asked[0]}`"
        if calibration.rolls and self.source.batch != "day":
            raise misfit(where, f"{rule} with `source.batch: {self.source.batch}`", "daily batches, whose records age")
        if calibration.rolls and calibration.ties == "random":
            raise misfit(where, f"{rule} with `ties: random`", "one of both")
        if policy.fdr is not None:
            expected = "`false_alarm_rate` or `budget`: no false discovery rate is known to hold then"
            raise misfit(where, f"{rule} with `policy.fdr`", expected)
        if policy.extrapolate:
            expected = "one of both: a tail is fitted to held-out records that all count alike"
            raise misfit(where, f"{rule} with `policy.extrapolate`", expected)
        return self

    @property
    def groups(self) -> tuple[str, ...]:
        """The raw columns, or `pattern`, whose values are calibrated apart."""
        context = self.columns.context
        return tuple(name if name == "pattern" else context[name].column or name for name in self.policy.per)

    @property
    def path(self) -> Path:
        """The pipeline file, absolute."""
        return self._path

    @property
    def root(self) -> Path:
        """The project folder, at which every relative path starts.

        It is the folder that holds `pipelines/` when the file is in a folder of that name, else the file's
        own.
        """
        return project_of(self._path)

    @property
    def unit(self) -> tuple[str, ...]:
        """The columns whose values stay on one side of the split; empty: each record by its whole content."""
        return self.source.key if self.split.unit is None else self.split.unit

    @property
    def unit_noun(self) -> str:
        """What one unit of the split is called: record, day or unit."""
        unit = set(self.unit)
        if not unit or unit == set(self.source.key):
            return "record"
        days = {self.source.time, "date", "day"}
        return "day" if unit & days and unit <= days | {"year", "month"} else "unit"

    @property
    def exclude(self) -> tuple[tuple[Any, Any], ...]:
        """The known-bad periods as (from, until) days."""
        return tuple((period.from_, period.until) for period in self.source.exclude)

    def uses(self) -> list[Use]:
        """Every raw column that the pipeline needs, once per use.

        Kinds: number, integer, boolean, category, clock (date or timestamp), key (anything but nested), any.
        """
        found = [Use(name, entry.kind, f"columns.features.{name}") for name, entry in self.columns.features.items()]
        for name, entry in self.columns.context.items():
            kind = entry.kind
            if isinstance(entry, CyclicContext):
                kind = "clock" if isinstance(entry.period, str) else "number"  # type: ignore[assignment]
            found.append(Use(entry.column or name, kind, f"columns.context.{name}"))
        if self.source.time is not None:
            found.append(Use(self.source.time, "clock", "source.time"))
        found += [Use(name, "key", "source.key") for name in self.source.key]
        found += [Use(name, "key", "split.unit") for name in self.split.unit or ()]
        found += [Use(name, "any", "source.redact") for name in self.source.redact]
        return found
