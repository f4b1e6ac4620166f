"""The desk on cells that want to be more than text: shown as text everywhere, saved as text, and nothing redacted."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, expect

from flowguard.stages.enqueue import enqueue
from flowguard.stages.models import promote
from flowguard.stages.score import score
from flowguard.stages.train import train
from flowguard.store import QueuedRecord
from tests.conftest import meters
from tests.e2e.desk import RunningDesk, answer, at_desk, open_desk, settled, too_wide

pytestmark = pytest.mark.e2e

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '=HYPERLINK("http://evil")',
    "+1+cmd|' /C calc'!A0",
    "a\u202egnp.exe",  # right-to-left override
    "ze\u200bro\u200dwidth\ufeff",
    "x" * 10_000,
    "\U0001f600 <b>&amp;</b>",
    "'; DROP TABLE verdicts; --",
    "{{ 7 * 7 }} {% raw %}",
    "' autofocus onfocus='alert(1)",
    "javascript:alert(1)",
)
BATCH = "odd"
OWNER, SALARY = "Zacharias Verborgen", 81_234.5
PIPELINE = """\
name: meters
source:
  path: data/*.parquet
  batch: file
  key: [id, label, owner]
  redact: [owner, salary]
columns:
  features:
    power: {kind: number, front: standard, unit: "<i>kW</i>"}
    state: category
  context:
    label: category
    salary: number
    hour: {kind: cyclic, period: 24}
split: {train: 0.5, validation: 0.1, calibration: 0.3, holdout: 0.1}
model: {layers: 2, hidden: [16], bins: 4, epochs: 3, batch_size: 256, learning_rate: 0.005}
policy: {false_alarm_rate: 0.01}
resources: {threads: 1, tile: 256}
"""


def table(rows: int, seed: int, *, odd: int = 0) -> pa.Table:
    """Meters whose labels are hostile; the power of the first `odd` is far off, and their state was never seen."""
    rng = np.random.default_rng(seed)
    made = meters(rows, seed)
    power, labels = made["power"].to_numpy().copy(), [HOSTILE[i % len(HOSTILE)] for i in range(rows)]
    power[:odd] += 60
    states = [labels[i] if i < odd else state for i, state in enumerate(rng.choice(["on", "off"], rows))]
    return pa.table(
        {
            "id": made["id"],
            "label": labels,
            "owner": [f"{OWNER} {i}" for i in range(rows)],
            "salary": np.full(rows, SALARY) + rng.normal(0, 0.01, rows),
            "hour": made["hour"],
            "power": power,
            "state": states,
        }
    )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """A desk on one scored batch in which a record of each label is flagged."""
    folder = tmp_path_factory.mktemp("hostile") / "project"
    (folder / "data").mkdir(parents=True)
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "meters.yaml").write_text(PIPELINE, encoding="utf-8")
    for number in range(3):
        pq.write_table(table(1000, number), folder / "data" / f"part{number}.parquet")
    pipeline = folder / "pipelines" / "meters.yaml"
    train(pipeline)
    pq.write_table(table(600, 77, odd=len(HOSTILE)), folder / "data" / f"{BATCH}.parquet")
    score(pipeline, batch=BATCH)
    with open_desk(folder, "meters", folder.with_name("log.txt")) as opened:
        yield opened


def label_of(one: QueuedRecord) -> str:
    return str(one.document["key"]["label"])


def hostile(desk: RunningDesk) -> dict[str, QueuedRecord]:
    """A flagged record of each hostile label."""
    found = {label_of(one): one for one in reversed(desk.records(batch=BATCH))}
    assert set(found) == set(HOSTILE), "each of the planted records was flagged"
    return found


def test_cells_are_shown_as_text_on_every_page(desk: RunningDesk, browser: Browser) -> None:
    records = hostile(desk)
    shown = {"<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a[U+202E]gnp.exe", "ze[U+200B]ro[U+200D]"}
    note = "<img src=x onerror=alert(1)> \u202eabc"
    with at_desk(browser, desk, desk.batch_url(BATCH)) as seen:
        page = seen.page
        text = page.inner_text("main")
        assert all(each in text for each in shown)
        assert "\u202e" not in text
        assert "\u200b" not in text
        one = records[HOSTILE[0]]
        page.goto(desk.record_url(one))
        page.get_by_label("Note").fill(note)
        page.get_by_role("button", name="Confirmed").click()
        expect(page.locator("#history")).to_contain_text("<img src=x onerror=alert(1)> [U+202E]abc")
        for address in (*desk.addresses(), *(desk.record_url(each) for each in records.values())):
            page.goto(address)
            settled(page)
            wild = page.eval_on_selector_all(
                "main script, main img, main [onerror], main [onfocus], main b:not([style], [class]), "
                "main bdi > :not(strong), [href^='javascript']",
                "all => all.map(one => one.outerHTML)",
            )
            assert wild == [], address
        for search in HOSTILE:
            page.goto(f"{desk.url}p/meters/records?q={quote(search[:60])}")
            found = [str(each) for each in page.eval_on_selector_all("li.record", "all => all.map(one => one.id)")]
            assert records[search].record_id in found, search[:40]
        for each in (desk.batch_url(BATCH), desk.record_url(records["x" * 10_000])):
            page.goto(each)
            settled(page)
            assert too_wide(page) == 0, each


def test_a_saved_list_holds_no_formula(desk: RunningDesk, browser: Browser) -> None:
    query = f"batch={quote(BATCH)}"
    with at_desk(browser, desk, desk.batch_url(BATCH)) as seen:
        for kind in ("csv", "parquet"):
            with seen.page.expect_download() as download:
                seen.page.locator(f".exports a[href*='.{kind}?']").first.click()
            saved = Path(download.value.path()).read_bytes()
            assert OWNER.encode() not in saved
            if kind == "csv":
                rows = list(csv.DictReader(io.StringIO(saved.decode("utf-8-sig"))))
                cells = [cell for row in rows for cell in row.values()]
                assert not [cell for cell in cells if cell.lstrip()[:1] in ("=", "+", "-", "@") and not number(cell)]
                assert '\'=HYPERLINK("http://evil")' in cells
                assert "a\\u202egnp.exe" in cells
            else:
                back = pq.read_table(io.BytesIO(saved))
                assert set(HOSTILE) <= set(back["label"].to_pylist()), "programs get cells as they are"
        assert answer(seen.page, "GET", f"{desk.url}p/meters/export.csv?{query}&column=%27%3B%20DROP")[0] == 200


def number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_what_is_redacted_is_on_no_page_and_in_no_file(desk: RunningDesk, browser: Browser) -> None:
    secrets = (OWNER, "Verborgen", str(SALARY), f"{SALARY:,}", "81234", "81,234")
    records = hostile(desk)
    with at_desk(browser, desk, f"{desk.url}queue") as seen:
        for address in (*desk.addresses(), *(desk.record_url(one) for one in records.values())):
            seen.page.goto(address)
            settled(seen.page)
            source = seen.page.content()
            assert not [secret for secret in secrets if secret in source], address
        for path in ("export.csv", "export.parquet"):
            body = seen.page.context.request.get(f"{desk.url}p/meters/{path}").body()
            assert not [secret for secret in secrets if secret.encode() in body], path
        seen.page.goto(f"{desk.url}p/meters/records?q=Verborgen")
        expect(seen.page.get_by_text("No record is like that.")).to_be_visible()
    # Nor in what the desk keeps.
    kept = b"".join(path.read_bytes() for path in (desk.folder / "runs").glob("flowguard.db*"))
    assert b"Verborgen" not in kept


def test_a_link_to_a_record_and_its_verdict_outlast_a_second_scoring(desk: RunningDesk, browser: Browser) -> None:
    one = hostile(desk)[HOSTILE[2]]
    link, state = desk.record_url(one), ".deciding .state"
    with at_desk(browser, desk, link) as seen:
        seen.page.keyboard.press("c")
        expect(seen.page.locator(state)).to_have_text("confirmed")
        pipeline = desk.folder / "pipelines" / "meters.yaml"
        pipeline.write_text(PIPELINE.replace("epochs: 3", "epochs: 4"), encoding="utf-8")
        scored = (desk.folder / "data" / f"{BATCH}.parquet").rename(desk.folder / "later.parquet")
        assert train(pipeline).registered.version.version == 2
        scored.rename(desk.folder / "data" / f"{BATCH}.parquet")
        promote(desk.folder / "runs", "meters", 2)
        score(pipeline, batch=BATCH)
        assert enqueue(pipeline).batches == (BATCH,), "as `flowguard score` does"
        seen.page.reload()
        expect(seen.page.locator(state)).to_have_text("confirmed")
        expect(seen.page.locator("h1")).to_contain_text(HOSTILE[2])
        expect(seen.page.locator(".lead").first).to_contain_text("by version 2")
        expect(seen.page.locator("#history")).to_contain_text("version 1")
        seen.page.keyboard.press("z")
        expect(seen.page.locator(state)).to_have_text("undecided")
