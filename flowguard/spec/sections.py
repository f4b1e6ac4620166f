"""The smaller sections: split, model, policy, calibration, verdicts, drift, output, schedule, resources."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from flowguard.spec.cron import cron_fault
from flowguard.spec.section import Day, Name, Names, Section, distinct, misfit

Share = Annotated[float, Field(gt=0, lt=1)]


class SplitSection(Section):
    """Which records are used to fit, and how they are dealt out: whole units, by hash."""

    since: Day | None = Field(default=None, examples=["2013-01-01"])
    """First day whose records are used; all earlier ones are left alone."""
    until: Day | None = Field(default=None, examples=["2013-05-01"])
    """First day whose records are no longer used. Records from here on are only scored."""
    unit: Annotated[Names, AfterValidator(distinct)] | None = Field(default=None, examples=[["year", "month", "day"]])
    """Columns whose values stay together on one side (a day, a customer). Default: the key, else the whole
    record."""
    train: Share = 0.6
    """Share of the units that the model is fitted on."""
    validation: Share = 0.06
    """Share of the units that decides when training stops."""
    calibration: Share = 0.17
    """Share of the units that thresholds are set by."""
    holdout: Share = 0.17
    """Share of the units that nothing is fitted on: the flagged share is checked there."""
    salt: str = ""
    """Mixed into the hash; another salt deals the units out anew."""

    @model_validator(mode="after")
    def _whole(self) -> SplitSection:
        total = sum(self.shares.values())
        if abs(total - 1) > 1e-6:
            key = next((k for k in reversed(self.shares) if k in self.model_fields_set), "")
            raise misfit(key, f"shares that sum to {total:g}", "train + validation + calibration + holdout = 1")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise misfit("until", f"{self.until}, not after since ({self.since})", "a day after `since`")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The parts and their shares, in a fixed order."""
        return {
            "train": self.train,
            "validation": self.validation,
            "calibration": self.calibration,
            "holdout": self.holdout,
        }


class ModelSection(Section):
    """The density and how it is trained."""

    family: Literal["maf", "realnvp", "continuous", "gaussian"] = "maf"
    """Masked autoregressive flow, coupling flow (RealNVP), continuous flow (a neural ODE, up to 64 features), or a
    Gaussian of full covariance with its mean linear in the context: the baseline that a flow must beat."""
    transformer: Literal["spline", "affine", "mixture"] = "spline"
    """The one-dimensional map in each layer: a rational-quadratic spline, an affine map, or the distribution function
    of a Gaussian mixture. Default: spline for maf, affine for realnvp."""
    order: Literal["single", "alternate", "random"] = "single"
    """Column order of the layers. `single` (maf only, its default) keeps the order of `features`, which makes
    reasons exact per column; realnvp takes `alternate` (its default) or `random`."""
    orders: int = Field(default=1, ge=1, le=64)
    """How many column orders are averaged, each by networks of its own: better densities, at a cost that grows with
    them. The first is that of `features`, the others come from the seed. Only with maf and `order: single`."""
    mixing: Literal["none", "lu"] = "none"
    """`lu` mixes all features linearly before each layer, by an invertible matrix that is learned. Only with realnvp,
    and where no feature is ever missing."""
    layers: int = Field(default=3, ge=1, le=64)
    """How many bijections are stacked. Default: 3 for maf, 6 for realnvp."""
    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(strict=False, min_length=1)] | None = None
    """Widths of the hidden layers of each network. Default: by the size of the table, 64 and 64 for large ones."""
    bins: int = Field(default=8, ge=2, le=128)
    """Bins of each spline; only with `transformer: spline`."""
    components: int = Field(default=8, ge=2, le=128)
    """Components of each mixture; only with `transformer: mixture`."""
    steps: int = Field(default=16, ge=2, le=1024)
    """Steps of the solver, sealed with the version; training takes half as many. Only with `family: continuous`."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Share of each network's hidden values that is left out in every training step; only with maf and realnvp.
    Default: by the size of the table, 0 for large ones."""
    noise: float | None = Field(default=None, ge=0, le=1)
    """Largest deviation of the noise that is added in training, in deviations of each number; the network is told how
    much it was, and the held-out likelihood chooses the level to read at. Not with gaussian.
    Default: by the size of the table, 0 for large ones."""
    kernel: int = Field(default=0, ge=0, le=100_000)
    """So many records are kept as the centres of kernel densities beside the flow, which find anomalies where a
    flow has too few records to learn from; 2000 is a good number. The version then holds these records: leave it at 0
    where a model must not carry data, and for the most records a second."""
    epochs: int | None = Field(default=None, ge=1)
    """At most this many passes over the training records. Default: by the size of the table, 40 for large ones."""
    batch_size: int | None = Field(default=None, ge=1)
    """Records per training step. Default: by the size of the table, 512 for large ones."""
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    """Highest learning rate; it warms up, then falls along a cosine."""
    weight_decay: float | None = Field(default=None, ge=0, le=1)
    """Decoupled weight decay (AdamW). Default: by the size of the table, 1e-4 for large ones."""
    patience: int | None = Field(default=None, ge=1)
    """Training stops after this many epochs without a better validation likelihood. Default: by the size of the table,
    6 for large ones."""
    clip: float = Field(default=5.0, gt=0)
    """Bound on the gradient's norm."""
    contamination: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the training records that may not belong there: twice as many, the strangest, are left out."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Everything random starts here."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_family(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("family") == "realnvp":
            return {"transformer": "affine", "order": "alternate", "layers": 6, **data}
        return data

    @model_validator(mode="after")
    def _fitting(self) -> ModelSection:
        if self.family == "realnvp" and self.order == "single":
            raise misfit("order", "'single' with realnvp", "`alternate` or `random`: coupling has no single order")
        if self.kernel == 1:
            raise misfit("kernel", "1", "0 for none, or at least 2: one record is no density of the others")
        if self.family == "realnvp" and self.layers < 2:
            raise misfit("layers", "1 with realnvp", "at least 2, or some columns pass untouched")
        if self.family == "continuous":
            for key in ("transformer", "order", "layers", "bins", "components"):
                if key in self.model_fields_set:
                    raise misfit(key, f"`{key}` with continuous", f"no `{key}`: a continuous flow has no layers")
        if self.family == "gaussian":
            for key in ("transformer", "order", "orders", "layers", "hidden", "bins", "components"):
                if key in self.model_fields_set:
                    raise misfit(key, f"`{key}` with gaussian", f"no `{key}`: a Gaussian has no networks")
        for key, families in (("dropout", ("maf", "realnvp")), ("noise", ("maf", "realnvp", "continuous"))):
            if key in self.model_fields_set and self.family not in families:
                raise misfit(key, f"`{key}` with {self.family}", f"one of {', '.join(families)}, or no `{key}`")
        if self.family != "continuous" and "steps" in self.model_fields_set:
            raise misfit("steps", f"`steps` with {self.family}", "`family: continuous`, or no `steps`")
        if self.orders > 1 and (self.family, self.order) != ("maf", "single"):
            raise misfit("orders", f"{self.orders} with {self.family}, {self.order}", "`family: maf`, `order: single`")
        if self.mixing != "none" and self.family != "realnvp":
            raise misfit("mixing", f"{self.mixing!r} with {self.family}", "`family: realnvp`, or no `mixing`")
        for key, owner in (("bins", "spline"), ("components", "mixture")):
            if self.transformer != owner and key in self.model_fields_set:
                raise misfit(key, f"`{key}` with {self.transformer}", f"`transformer: {owner}`, or no `{key}`")
        return self


class PolicySection(Section):
    """What is flagged: by one of `false_alarm_rate`, `fdr` and `budget`."""

    false_alarm_rate: float | None = Field(default=None, gt=0, lt=1, examples=[0.001])
    """Share of ordinary records that may be flagged. The calibration records must support it: with n of them
    it cannot be below 1 / (n/2 + 1), unless it is to `extrapolate`. Default: 0.001, unless `fdr` or `budget` is
    given."""
    fdr: float | None = Field(default=None, gt=0, lt=1, examples=[0.05])
    """Share of the flagged records that may be ordinary, in expectation over batches (Benjamini-Hochberg)."""
    pooled: bool = False
    """With `fdr`: the share is of all records flagged since the first batch, not of each batch by itself (LOND)."""
    budget: int | None = Field(default=None, ge=1, examples=[50])
    """So many records of each batch are flagged, the strangest ones; no error rate is promised."""
    extrapolate: bool = False
    """p-values below 1 / (n + 1), n calibration records, come from a model of the tail (generalised Pareto), down to a
    hundredth of that. They are marked in every output: a model, and no guarantee. Not with `fdr`."""
    per: Annotated[Names, AfterValidator(distinct)] = Field(default=(), examples=[["carrier"]])
    """Context columns whose values are calibrated apart, so that the rate holds for each of them. `pattern` stands for
    what is missing or at a repeated value. Values with too few training records share a calibration."""

    @model_validator(mode="after")
    def _one(self) -> PolicySection:
        given = [name for name in ("false_alarm_rate", "fdr", "budget") if getattr(self, name) is not None]
        if len(given) > 1:
            raise misfit(given[1], f"`{given[1]}` beside `{given[0]}`", "one of false_alarm_rate, fdr and budget")
        if self.pooled and self.fdr is None:
            raise misfit("pooled", "`pooled` without `fdr`", "`fdr`, or no `pooled`")
        if self.extrapolate and self.fdr is not None:
            expected = (
                "no `extrapolate`, or `false_alarm_rate` or `budget`: a model's p-values carry no rate of discoveries"
            )
            raise misfit("extrapolate", "`extrapolate` with `fdr`", expected)
        return self

    def rule(self) -> dict[str, Any]:
        """The one policy, as `flowguard.calibration.read_policy` reads it."""
        if self.fdr is not None:
            return {"fdr": self.fdr, "pooled": self.pooled}
        beyond = {"extrapolate": True} if self.extrapolate else {}
        if self.budget is not None:
            return {"budget": self.budget, **beyond}
        return {"false_alarm_rate": 0.001 if self.false_alarm_rate is None else self.false_alarm_rate, **beyond}


class CalibrationSection(Section):
    """How records are ranked: by default among the held-out ones, all alike, which alone carries the full guarantee."""

    window: int | None = Field(default=None, ge=1, examples=[28])
    """Rolling: a batch's records are ranked among those of the last so many days, held out or scored since. Only with
    daily batches; the rate is then approximate."""
    half_life: float | None = Field(default=None, gt=0, examples=[14])
    """Weighted: the records among which a batch's are ranked, held out or scored since, count half as much for every so
    many days of age. Only with daily batches; the rate is then approximate."""
    ties: Literal["conservative", "random"] = "conservative"
    """Records that score alike: conservative, all get the largest p-value of the tie; random, a lot drawn by the
    record's id decides, the same in every run. Only with `false_alarm_rate` or `budget`."""

    @property
    def rolls(self) -> bool:
        """Whether records are ranked by their age."""
        return self.window is not None or self.half_life is not None


class VerdictsSection(Section):
    """What people's verdicts have to do with the versions to come."""

    exclude_confirmed: bool = True
    """Records that people confirmed as anomalies are left out of training and calibration: of the density, and of the
    records that others are ranked among. A false alarm stays in."""


class DriftSection(Section):
    """When the data is said to have changed, and what follows."""

    chance: float = Field(default=0.01, gt=0, lt=1)
    """The chance of any alarm, ever, while batches stay as they were, however often one looks."""
    then: Literal["nothing", "notify", "recalibrate", "train"] = "notify"
    """What an alarm brings about in scheduled runs beside its row in the store: nothing; notify, a Prefect event and
    an artifact; recalibrate, these and a challenger of the same weights, calibrated on the days from `split.until` on
    (without it, on the split's period); train, these and a challenger trained on the split's period."""


class OutputSection(Section):
    """What is written."""

    folder: Name = "runs"
    """Where outputs go, under <folder>/<pipeline>/; relative to the project folder."""
    reasons: int = Field(default=3, ge=1, le=100)
    """At most this many reasons per flagged record."""


class ScheduleSection(Section):
    """When new batches are scored, and what must be there then."""

    cron: Name = Field(examples=["0 6 * * *"])
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: Name = "UTC"
    """An IANA time zone, such as Europe/Berlin."""
    active: bool | None = None
    """`false`: the schedule is deployed and starts no runs. Default: as it was left in Prefect, a new one starts
    runs."""
    lag: int = Field(default=1, ge=0, le=366)
    """Of daily batches, that of so many days before a run must be there at the run, or it is late; 1 is yesterday's."""
    collision: Literal["enqueue", "cancel"] = "enqueue"
    """A run that comes due while another scores this pipeline: enqueue, it waits its turn; cancel, it is left out, and
    the next one does what is new."""

    @model_validator(mode="after")
    def _meaningful(self) -> ScheduleSection:
        fault = cron_fault(self.cron)
        if fault:
            raise misfit("cron", f"{self.cron!r}: {fault}", "a cron expression such as '0 6 * * *'")
        if self.timezone != "UTC":
            try:
                ZoneInfo(self.timezone)
            except (KeyError, ValueError, OSError):
                raise misfit("timezone", repr(self.timezone), "an IANA zone such as Europe/Berlin") from None
        return self


_MEMORY = re.compile(r"^\d+(\.\d+)? ?([KMGT]i?B)$")


class ResourcesSection(Section):
    """What a run may use."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; `auto` takes CUDA when there is one."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Threads of the network and of the query."""
    memory: str = Field(default="2GB", examples=["500MB", "8GB"])
    """Memory of the DuckDB query; what does not fit goes to a temporary folder."""
    tile: int = Field(default=1024, ge=1, le=1_048_576)
    """Records per scoring tile, sealed with the version: a record's score never depends on its batch
    mates."""
    hours: float | None = Field(default=None, gt=0, le=8760)
    """A deployed run is stopped after so many hours. Default: 24 for a training, 6 for all else."""

    @model_validator(mode="after")
    def _sized(self) -> ResourcesSection:
        if not _MEMORY.match(self.memory):
            raise misfit("memory", repr(self.memory), "a number and a unit, such as 500MB or 2GB")
        return self
