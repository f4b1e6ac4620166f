"""The records of the reasons benchmark: ordinary held-out ones, and copies in which one column was replaced by a value
far from what the rest of the record makes likely."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from detection_tables import split, tables

PIPELINES = ("flights", "metro_traffic")
LEAST_ROWS, LEAST_VALUES, COLUMNS, TABLES = 2_000, 20, (5, 40), 6
ROWS = 20_000
STEPS = (6.0, 10.0)
"""How many conditional deviations a replaced value is off: uniform between these, up or down."""
ORDINARY = 3.0
"""A record is ordinary where no column is further off than this many conditional deviations."""
INNER = (0.005, 0.995)
"""A replaced value between these quantiles of its column is one that the column alone does not give away."""
_LEARNED, _FOLDS, _HELD = 20_000, 3, 4_000
_ROOT = Path(__file__).resolve().parents[1]


# -- which tables ----------------------------------------------------------------------------------------------------


def chosen(folder: Path) -> list[Path]:
    """The six largest tables, by normal rows, of those that a column can be altered in at will and calibrated at 1 %:
    at least 2,000 normal rows, 5 to 40 columns, and no column with fewer than 20 values among 20,000 normal rows."""
    fitting = [(rows, path) for path in tables(folder) if (rows := _normal_rows(path)) is not None]
    return [path for _, path in sorted(fitting, key=lambda one: (-one[0], one[1].stem))[:TABLES]]


def _normal_rows(path: Path) -> int | None:
    """How many normal rows a table has; None where it does not qualify."""
    with np.load(path) as arrays:
        normal = np.flatnonzero(arrays["y"].ravel() == 0)
        if len(normal) < LEAST_ROWS:
            return None
        x = arrays["X"]
    if not COLUMNS[0] <= x.shape[1] <= COLUMNS[1]:
        return None
    some = x[np.random.default_rng(0).permutation(normal)[:ROWS]]
    return len(normal) if all(len(np.unique(column)) >= LEAST_VALUES for column in some.T) else None


# -- what is dealt out -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Records:
    """The records of one table and seed, columns as they are in the table; what is not a feature is context.

    `fit` and `calibration` are what detectors learn from, `held` records that nobody learned from, as they come, and
    `altered` ordinary ones of these with one column replaced. `what` has a row for each altered record: its `column`,
    the signed number of deviations (`steps`), and whether the new value lies `inside` the column's own range. `unit`
    says which held records stay together (a day). `pipeline` is the pipeline's file in its project, if it is one.
    """

    name: str
    features: tuple[str, ...]
    fit: pd.DataFrame
    calibration: pd.DataFrame
    held: pd.DataFrame
    unit: np.ndarray
    altered: pd.DataFrame = field(default_factory=pd.DataFrame)
    what: pd.DataFrame = field(default_factory=pd.DataFrame)
    pipeline: Path | None = None


_FRAMES = ("fit", "calibration", "held", "altered", "what")


def write(records: Records, folder: Path) -> None:
    """Keep them in a folder, which is renamed into place when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    for name in _FRAMES:
        getattr(records, name).to_parquet(draft / f"{name}.parquet")
    facts = {
        "name": records.name,
        "features": records.features,
        "unit": records.unit.tolist(),
        "pipeline": None if records.pipeline is None else str(records.pipeline),
    }
    (draft / "records.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)


def read(folder: Path) -> Records:
    """What `write` kept."""
    facts = json.loads((folder / "records.json").read_text(encoding="utf-8"))
    return Records(
        facts["name"],
        tuple(facts["features"]),
        **{name: pd.read_parquet(folder / f"{name}.parquet") for name in _FRAMES},
        unit=np.array(facts["unit"]),
        pipeline=None if facts["pipeline"] is None else Path(facts["pipeline"]),
    )


def place(folder: Path, table: str, source: str, *, seed: int, rows: int, records: int) -> Path:
    """Where the records of a table and seed are kept; the name holds the data, the sizes and how they are made."""
    made_by = Path(__file__).read_bytes()
    if table in PIPELINES:
        made_by += (_ROOT / f"pipelines/{table}.yaml").read_bytes()
    key = hashlib.sha256(json.dumps([source, rows, records]).encode() + made_by).hexdigest()[:12]
    return folder / table / f"records-seed{seed}-{key}"


def from_table(path: Path, *, seed: int, rows: int) -> Records:
    """Half of a table's normal rows to learn from, a fifth of them to calibrate on; the other half is held out."""
    dealt = split(path, rows=rows, seed=seed)
    names = [f"x{place}" for place in range(dealt.train.shape[1])]
    learned = pd.DataFrame(dealt.train, columns=names, dtype=np.float64)
    held = pd.DataFrame(dealt.test[~dealt.label], columns=names, dtype=np.float64)
    cut = len(learned) * 4 // 5
    return Records(path.stem, tuple(names), learned[:cut], learned[cut:], held, np.arange(len(held)))


def from_pipeline(name: str, project: Path, *, seed: int) -> Records:
    """What the pipeline's own split deals out in `project`, which holds its data; `seed` is its salt and its fit's."""
    from ruamel.yaml import YAML

    from flowguard.stages.deal import UNIT, deal, stream
    from flowguard.stages.workspace import Workspace

    yaml = YAML()
    spec = yaml.load((_ROOT / f"pipelines/{name}.yaml").read_text(encoding="utf-8"))
    spec["split"]["salt"], spec["model"]["seed"] = str(seed), seed
    path = project / f"pipelines/{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(spec, file)
    dealt = deal(path)
    parts = {
        part: pd.concat([batch.to_pandas() for batch in stream(dealt.folder, part)()], ignore_index=True)
        for part in ("train", "validation", "calibration", "holdout")
    }
    unit = parts["holdout"][UNIT].to_numpy()
    columns = [column for column in parts["train"].columns if not column.startswith("__")]
    learned = pd.concat([parts["train"], parts["validation"]], ignore_index=True)[columns]
    features = tuple(Workspace.open(path).pipeline.columns.features)
    return Records(
        name, features, learned, parts["calibration"][columns], parts["holdout"][columns], unit, pipeline=path
    )


# -- numbers for what needs them -------------------------------------------------------------------------------------


def as_numbers(frame: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Every column as numbers: levels by how common they are in `like` (-1 for others), of dates the days of week and
    year, NaN where a number is missing. Numbers keep their names.

    >>> as_numbers(pd.DataFrame({"a": ["v", "u"], "b": [1, 2]}), pd.DataFrame({"a": ["u", "u"], "b": [3, 4]}))
         a    b
    0 -1.0  1.0
    1  0.0  2.0
    """
    made: dict[str, Any] = {}
    for name in frame.columns:
        column = frame[name]
        if _is_date(like[name]):
            days = pd.to_datetime(column).dt
            made[f"{name} of week"], made[f"{name} of year"] = days.dayofweek, days.dayofyear
        elif pd.api.types.is_numeric_dtype(like[name]):
            made[name] = column
        else:
            codes = {level: code for code, level in enumerate(like[name].value_counts().index)}
            made[name] = column.map(codes).fillna(-1)
    return pd.DataFrame({name: np.asarray(column, dtype=np.float64) for name, column in made.items()})


def _is_date(column: pd.Series) -> bool:
    first = column.dropna()
    return len(first) > 0 and hasattr(first.iloc[0], "year")


# -- altering --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conditional:
    """The mean and the deviation of one column given all others, by gradient boosting; knows nothing of flowguard.

    The deviation is that of residuals of rows that the mean was not fitted on: the larger of what a second regression
    says of such a record, and of all of them (`least`). Boosting can be carried away, so it is never above the largest
    residual (`most`). `whole` says that the column holds whole numbers only.
    """

    column: str
    mean: Any
    variance: Any
    least: float
    most: float
    whole: bool

    @classmethod
    def fit(cls, numbers: pd.DataFrame, column: str, *, seed: int) -> Conditional | None:
        """Of the training rows in which the column is there; None where nothing is left to vary."""
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.model_selection import KFold, cross_val_predict

        there = numbers[numbers[column].notna()]
        there = there.iloc[np.random.default_rng(seed).permutation(len(there))[:_LEARNED]]
        y, x = there[column].to_numpy(), there.drop(columns=column).to_numpy()
        if len(np.unique(y)) < LEAST_VALUES:
            return None
        mean = HistGradientBoostingRegressor(random_state=seed)
        residual = y - cross_val_predict(mean, x, y, cv=KFold(_FOLDS, shuffle=True, random_state=seed))
        least = float(residual.std())
        if not least > 0:
            return None
        # The loss is for what is above 0; a residual that happens to be none says no more than a small one.
        square = np.maximum(residual**2, 1e-6 * least**2)
        variance = HistGradientBoostingRegressor(loss="gamma", random_state=seed).fit(x, square)
        most = float(np.abs(residual).max())
        return cls(column, mean.fit(x, y), variance, least, most, bool((y == np.round(y)).all()))

    def of(self, numbers: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation given each record's other columns."""
        x = numbers.drop(columns=self.column).to_numpy()
        return self.mean.predict(x), np.clip(np.sqrt(self.variance.predict(x)), self.least, self.most)

    def value(self, mean: np.ndarray, deviation: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """So many deviations off; whole numbers where the column holds these, rounded away from the mean."""
        value = mean + steps * deviation
        return np.where(steps > 0, np.ceil(value), np.floor(value)) if self.whole else value


def altered(records: Records, *, count: int, seed: int) -> Records:
    """The same, with `count` ordinary held-out records altered; each column has its turn, up as often as down.

    Errors: ValueError where no column can be altered or no held-out record is ordinary.
    """
    rng = np.random.default_rng([seed, 1])
    learned = as_numbers(records.fit, records.fit)
    # What nobody learned from and is drawn here is enough to alter and to tell how often ordinary records are flagged.
    some = np.sort(rng.permutation(len(records.held))[: max(_HELD, 2 * count)])
    held, unit = records.held.iloc[some].reset_index(drop=True), records.unit[some]
    numbers = as_numbers(held, records.fit)
    every = [Conditional.fit(learned, column, seed=seed) for column in records.features]
    models = [one for one in every if one is not None]
    if not models:
        raise ValueError(f"{records.name} has no column with {LEAST_VALUES} values that could be altered.")
    expected = {one.column: one.of(numbers) for one in models}
    off = {name: np.abs(numbers[name].to_numpy() - mean) / deviation for name, (mean, deviation) in expected.items()}
    ordinary = np.all([~(values > ORDINARY) for values in off.values()], axis=0)
    drawn: list[tuple[int, Conditional]] = []
    for row, model in _turns(np.flatnonzero(ordinary), models, rng):
        if not np.isnan(numbers[model.column].iloc[row]):
            drawn.append((row, model))
        if len(drawn) == count:
            break
    if not drawn:
        raise ValueError(f"{records.name} has no ordinary record that could be altered.")
    rows = np.array([row for row, _ in drawn])
    sign = np.where(rng.permutation(len(rows)) % 2, 1.0, -1.0)
    steps = sign * rng.uniform(*STEPS, size=len(rows))
    made, what = held.iloc[rows].reset_index(drop=True), []
    inner = learned.quantile(list(INNER))
    for place_, (row, model) in enumerate(drawn):
        mean, deviation = (float(one[row]) for one in expected[model.column])
        value = float(model.value(np.array(mean), np.array(deviation), np.array(steps[place_])))
        low, high = inner[model.column]
        what.append((row, model.column, steps[place_], value, low <= value <= high))
    table = pd.DataFrame(what, columns=["row", "column", "steps", "value", "inside"])
    for column, group in table.groupby("column"):
        # A column of whole numbers takes a value beside its type's range as a number.
        made[column] = made[column].astype(np.float64)
        made.loc[group.index, column] = group["value"]
    return Records(
        records.name,
        records.features,
        records.fit,
        records.calibration,
        held,
        unit,
        made,
        table,
        records.pipeline,
    )


def _turns(
    rows: np.ndarray, models: Sequence[Conditional], rng: np.random.Generator
) -> Iterator[tuple[int, Conditional]]:
    """Records in a random order, each with a column whose turn it is, until every record has had every column."""
    order = rng.permutation(rows)
    for turn in range(len(models)):
        for place_, row in enumerate(order):
            yield int(row), models[(place_ + turn) % len(models)]


# -- the data of a pipeline ------------------------------------------------------------------------------------------


def provide(name: str, data: Path, project: Path) -> None:
    """Put the pipeline's data into its project: the flights from their package, the traffic from its CSV.

    Errors: ValueError where it is not there.
    """
    if name == "flights":
        from flowguard.errors import FlowguardError
        from flowguard.stages.demo import write_flights

        try:
            write_flights(project / "data/flights")
        except FlowguardError as error:
            raise ValueError(str(error)) from None
        return
    table = project / "data/metro_traffic/traffic.parquet"
    if not table.exists():
        table.parent.mkdir(parents=True, exist_ok=True)
        draft = table.with_name(f".{os.getpid()}.parquet")
        pd.read_csv(data / TRAFFIC).to_parquet(draft)
        draft.replace(table)


TRAFFIC = "metro_traffic/Metro_Interstate_Traffic_Volume.csv"
