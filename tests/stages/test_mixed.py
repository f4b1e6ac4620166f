"""A table of every kind of column, from Parquet to pages: each oddity is found and named for what it is."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowguard.errors import PipelineError
from flowguard.explain import Reason
from flowguard.spec import load_pipeline
from flowguard.stages.check import check
from flowguard.stages.flagged import Flagged, flagged
from flowguard.stages.report import report
from flowguard.stages.score import score
from flowguard.stages.train import train

pytestmark = pytest.mark.e2e  # trainings of whole pipelines

SECRET = "holder-Xq7-"
LONG = "a very long level that nobody has ever seen " * 4
PIPELINE = """\
name: mixed
source: {path: data/*.parquet, batch: file, key: [id], redact: [holder]}
columns:
  features:
    channel: category
    member: boolean
    items: integer
    discount: {kind: number, unit: EUR}
    weight: {kind: number, unit: kg}
    length: number
  context:
    hour: {kind: cyclic, period: 24}
split: {train: 0.5, validation: 0.1, calibration: 0.3, holdout: 0.1}
model: {layers: 1, hidden: [16], bins: 4, epochs: 4, batch_size: 256, learning_rate: 0.01}
score: largest
policy: {false_alarm_rate: 0.01}
resources: {threads: 1, tile: 256}
"""


def orders(rows: int, seed: int) -> dict[str, list]:
    """Orders by channel: phone orders never have a discount, weight is now and then missing, length never."""
    rng = np.random.default_rng(seed)
    channel = rng.choice(["web", "shop", "phone"], rows, p=[0.6, 0.3, 0.1])
    member = rng.random(rows) < np.where(channel == "web", 0.7, 0.2)
    items = 1 + rng.poisson(np.where(channel == "phone", 6, 2))
    reduced = (rng.random(rows) < 0.3) & (channel != "phone")
    weight = 0.4 * items * np.exp(rng.normal(0, 0.2, rows))
    return {
        "id": (np.arange(rows) + 1_000_000 * seed).tolist(),
        "holder": [f"{SECRET}{row}" for row in range(rows)],
        "hour": rng.integers(0, 24, rows).astype(float).tolist(),
        "channel": channel.tolist(),
        "member": member.tolist(),
        # Delivered as floats, as pandas does: what is off the lattice can be written at all.
        "items": items.astype(float).tolist(),
        "discount": np.where(reduced, np.exp(rng.normal(1, 0.5, rows)), 0.0).tolist(),
        "weight": [None if missing else w for w, missing in zip(weight, rng.random(rows) < 0.05, strict=True)],
        "length": (30 + 8 * member + rng.normal(0, 3, rows)).tolist(),
    }


# What is planted in row n: the columns with their values, the column that is to be named first, and the words.
PLANTED: list[tuple[dict[str, object], str, str]] = [
    ({"channel": "fax"}, "channel", "channel fax was never seen in training; "),
    ({"channel": LONG}, "channel", "channel a very long level that nobody has ever … was never seen in training; "),
    ({"channel": None}, "channel", "channel is missing, which it never was in training"),
    ({"items": 250.0, "weight": None}, "items", "items 250; 1 to "),
    ({"items": 2.5}, "items", "items 2.5; a whole number expected"),
    # Of an order that is a phone order in all else.
    (
        {"channel": "phone", "items": 9.0, "weight": 3.6, "discount": 2.718},
        "discount",
        "discount 2.718 EUR; 0 EUR in 9",
    ),
    ({"channel": "web", "discount": 7e6}, "discount", "discount 7,000,000 EUR; "),
    ({"length": None}, "length", "length is missing, which it never was in training"),
    ({"weight": 900.0}, "weight", "weight 900 kg; "),
]


@dataclass(frozen=True)
class Ran:
    """The trained and scored project."""

    pipeline: Path
    records: dict[int, Flagged]
    smallest: float
    pages: tuple[Path, ...]

    @property
    def runs(self) -> Path:
        return self.pipeline.parents[1] / "runs"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "data").mkdir()
    (folder / "pipelines").mkdir()
    for number in range(2):
        pq.write_table(pa.table(orders(2000, number)), folder / "data" / f"part{number}.parquet")
    pipeline = folder / "pipelines/mixed.yaml"
    pipeline.write_text(PIPELINE)
    train(pipeline)
    odd = orders(200, 9)
    for row, (change, _, _) in enumerate(PLANTED):
        for column, value in change.items():
            odd[column][row] = value
    pq.write_table(pa.table(odd), folder / "data/odd.parquet")
    results = score(pipeline)
    assert [result.manifest.quarantined_total for result in results] == [0, 0, 0]
    found = flagged(pipeline, batch="odd", top=None)
    (file,) = (result.manifest.files["scores"] for result in results if result.manifest.batch == "odd")
    scores = pq.read_table(folder / "runs/mixed" / file, partitioning=None)
    made = report(pipeline)
    records = {record.key["id"] - 9_000_000: record for record in found.records}
    return Ran(pipeline, records, min(scores["p_value"].to_pylist()), (*made.pages, made.run))


@pytest.mark.parametrize(("row", "column", "words"), [(row, *wanted) for row, (_, *wanted) in enumerate(PLANTED)])
def test_every_oddity_is_flagged_and_named_for_what_it_is(ran: Ran, row: int, column: str, words: str) -> None:
    first = ran.records[row].reasons[0]
    assert first.column == column
    assert first.words.startswith(words), first.words


def test_ordinary_records_of_the_same_batch_are_flagged_as_rarely_as_asked(ran: Ran) -> None:
    assert len(ran.records) - len(PLANTED) <= 8, "about 2 of 191 by chance"
    planted = {row: ran.records[row].p_value for row in range(len(PLANTED))}
    assert min(planted.values()) == ran.smallest
    # Nothing of the usual size is stranger than a value a thousand times too large.
    order = sorted(ran.records, key=lambda row: -ran.records[row].score)
    assert order[0] == 6


def test_reasons_are_written_with_values_and_ranges_where_there_are_any(ran: Ran) -> None:
    files = sorted((ran.runs / "mixed/reasons/batch=odd").rglob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]
    first = {row["record_id"]: Reason(**row) for row in rows if row["rank"] == 1}
    found = [first[ran.records[row].record_id] for row in range(len(PLANTED))]
    assert [(reason.column, reason.words) for reason in found] == [
        (ran.records[row].reasons[0].column, ran.records[row].reasons[0].words) for row in range(len(PLANTED))
    ]
    assert [reason.observed for reason in found] == [None, None, None, 250.0, 2.5, 2.718, 7e6, None, 900.0]
    assert [reason.observed_text for reason in found[:5]] == [
        "fax",
        "a very long level that nobody has ever …",
        "missing",
        "250",
        "2.5",
    ]
    count, off, discount = found[3], found[4], found[5]
    assert count.low is not None
    assert count.high is not None
    assert 0 < count.low < count.high < 20
    assert off.low is None, "a number off the lattice stands beside no range"
    assert discount.low is not None
    assert discount.low > 0, "the range of a discount that is not 0"


def test_pages_tell_of_every_kind_of_oddity(ran: Ran) -> None:
    texts = {page.name: html.unescape(page.read_text()).replace("\u00a0", " ") for page in ran.pages}
    assert set(texts) == {"batch-odd.html", "batch-part0.html", "batch-part1.html", "run.html"}
    for _, column, words in PLANTED:
        rest = words.removeprefix(column)
        assert f"<strong><bdi>{column}</bdi></strong><bdi>{rest}" in texts["batch-odd.html"]
    assert "channel</bdi></strong><bdi> fax was never seen" in texts["run.html"]


def test_a_redacted_category_appears_in_nothing_but_the_data(ran: Ran) -> None:
    searched = [path for path in ran.runs.rglob("*") if path.is_file()]
    assert {"batch-odd.html", "mlflow.db", "encoder.json"} <= {path.name for path in searched}
    assert not [path for path in searched if SECRET.encode() in path.read_bytes()]
    # Parquet may be compressed, so what can be read is read.
    assert SECRET not in str([pq.read_table(p, partitioning=None).to_pylist() for p in ran.runs.rglob("*.parquet")])


def test_a_redacted_feature_is_refused_since_reasons_would_tell_its_values(tmp_path: Path) -> None:
    path = tmp_path / "mixed.yaml"
    path.write_text(PIPELINE.replace("redact: [holder]", "redact: [channel]"))
    with pytest.raises(PipelineError, match=r"source\.redact: found 'channel', which is also a feature"):
        load_pipeline(path)


def test_categories_alone_go_the_whole_way_with_columns_left_to_the_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    protocol = rng.choice(["tcp", "udp"], 1500)
    service = np.where(protocol == "tcp", rng.choice(["http", "ssh"], 1500), rng.choice(["dns", "ntp"], 1500))
    service[3] = "dns" if protocol[3] == "tcp" else "http"
    pq.write_table(pa.table({"protocol": protocol, "service": service}), tmp_path / "x.parquet")
    path = tmp_path / "x.yaml"
    head, tail = PIPELINE[PIPELINE.index("split:") :].split("score: largest\n")
    path.write_text("source: {path: x.parquet}\ncolumns: infer\n" + head + tail)
    assert check(path).features == ("protocol", "service")
    train(path)
    score(path)
    strangest = flagged(path).records[0].reasons[0]
    # Either alone would put it right.
    assert strangest.column in ("protocol", "service")
    assert strangest.observed is None
    assert " % of such records" in strangest.words
    assert report(path).run.exists()
