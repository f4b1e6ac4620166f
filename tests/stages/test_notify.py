"""Notify: what a scoring run found reaches real receivers once, says where to look, and never stops a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from flowguard.cli.main import app
from flowguard.errors import InputError
from flowguard.stages.enqueue import enqueue
from flowguard.stages.freshness import freshness
from flowguard.stages.notify import Notified, notify_failed, notify_late, notify_scored, notify_test, notify_waiting
from flowguard.stages.score import score
from flowguard.stages.workspace import Workspace
from flowguard.store import Alarm
from flowguard.store.schema import NOTICES
from tests.conftest import meters
from tests.notify.receivers import Webhook, mailbox, webhook

DESK = "https://desk.example.org"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as found:
        monkeypatch.setenv("FLOWGUARD_NOTIFY", found.json_url)
        monkeypatch.setenv("FLOWGUARD_DESK_URL", DESK)
        yield found


def run(project: Path, batch: str = "part0", **asked: bool) -> Notified:
    """What `flowguard score` does."""
    results = score(project, batch=batch, **asked)
    assert results
    return notify_scored(project, enqueue(project).batches)


def say(project: Path, section: str) -> None:
    project.write_text(f"{project.read_text(encoding='utf-8')}notify: {section}\n", encoding="utf-8")


def pass_time(project: Path, span: timedelta) -> None:
    """Let what was told lie further back, as if so much time had passed on the store's clock."""
    store = Workspace.open(project).store
    with store.database.writing(lock="notices meters") as connection:
        for one in store.notices.of("meters"):
            earlier = {address: at - span for address, at in one.reached.items()}
            row = {"reached": json.dumps({address: at.isoformat() for address, at in earlier.items()})}
            row |= {"told_at": max(earlier.values())} if earlier else {}
            connection.execute(update(NOTICES).where(NOTICES.c.subject == one.subject).values(**row))


def test_a_scoring_run_tells_counts_reasons_and_links_once(project: Path, hook: Webhook) -> None:
    done = CliRunner().invoke(app, ["score", str(project), "--batch", "part0", "--json"])
    assert done.exit_code == 0, done.output
    flagged = json.loads(done.output)[0]["flagged"]
    [message] = hook.messages
    assert message["title"] == f"meters: {flagged} of 1,000 records flagged, part0"
    queue = Workspace.open(project).store.queue
    case = queue.cases("meters", "part0")[0]
    assert (
        f"{flagged} of 1,000 records are flagged in batch part0 (false alarm rate 1 %, version 1)."
        in message["message"]
    )
    assert f"{DESK}/p/meters/cases/{case.case_id}?batch=part0" in message["message"]
    assert f"{DESK}/p/meters/batches/part0" in message["message"]
    assert case.document["what"] in message["message"]
    assert "expected" in message["message"]
    # Neither what is scored already nor what is scored anew with the same result is news.
    run(project)
    run(project, force=True)
    assert len(hook.messages) == 1


def test_a_batch_that_was_delivered_again_with_other_content_is_told_again(project: Path, hook: Webhook) -> None:
    say(project, "{every: 0m}")
    run(project)
    pq.write_table(meters(700, 7), project.parents[1] / "data" / "part0.parquet")
    run(project)
    assert ["of 1,000" in one["title"] for one in hook.messages] == [True, False]


def test_one_run_of_many_batches_is_one_message(project: Path, hook: Webhook) -> None:
    assert CliRunner().invoke(app, ["score", str(project)]).exit_code == 0
    [message] = hook.messages
    assert message["title"].endswith("records flagged in 3 batches")


def test_what_comes_within_the_time_is_held_back_and_counted(project: Path, hook: Webhook) -> None:
    for batch in ("part0", "part1", "part2"):
        run(project, batch)
    assert len(hook.messages) == 1
    pass_time(project, timedelta(hours=1))
    assert notify_waiting(project) == Notified("meters", sent=1)
    assert "2 earlier messages were held back." in hook.messages[1]["message"]
    assert "part1" in hook.messages[1]["message"]
    assert notify_waiting(project).sent == 0


def test_an_address_that_does_not_answer_stops_nothing_and_is_told_by_the_next_run(
    project: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with mailbox() as box:
        monkeypatch.setenv("FLOWGUARD_NOTIFY", f"{hook.json_url} {box.url}")
        hook.status = 500
        done = CliRunner().invoke(app, ["score", str(project), "--batch", "part0"])
        assert done.exit_code == 0, done.output
        assert (len(hook.came), len(box.came)) == (0, 1)
        [line] = [record.getMessage() for record in caplog.records if record.name == "flowguard.notify"]
        assert "did not reach JSON at 127.0.0.1, address 1 of `notify`" in line
        assert "Correct FLOWGUARD_NOTIFY, then try: flowguard notify FILE --test" in line
        assert "s3cr3t" not in line
        hook.status = 200
        found = score(project)  # what is new has nothing to do with it
        assert notify_scored(project, ()).sent == 1
        assert (len(hook.came), len(box.came)) == (1, 1)
        assert "1 earlier message could not be sent." in hook.messages[0]["message"]
        assert len(found) == 2


def test_a_store_that_cannot_be_used_is_a_warning(
    project: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    score(project, batch="part0")
    broken = project.parents[1] / "broken.db"
    broken.write_text("no database, and long enough to be looked at as one" * 100)
    monkeypatch.setenv("FLOWGUARD_STORE", f"sqlite:///{broken}")
    assert notify_scored(project, ["part0"]).trouble
    assert "nobody was told what happened: StoreError: The store" in caplog.text


def test_without_an_address_nothing_is_noticed(project: Path) -> None:
    assert run(project) == Notified("meters")
    assert Workspace.open(project).store.notices.of("meters") == []
    with pytest.raises(InputError, match="FLOWGUARD_NOTIFY"):
        notify_test(project)


def test_the_pipeline_file_says_what_is_told(project: Path, hook: Webhook) -> None:
    say(project, "{on: [late, failed]}")
    run(project)
    say_again = project.read_text(encoding="utf-8").replace("{on: [late, failed]}", "{flagged: 900}")
    project.write_text(say_again, encoding="utf-8")
    run(project, "part1")
    assert hook.messages == []


def test_what_people_decided_on_is_no_news(project: Path, hook: Webhook) -> None:
    workspace = Workspace.open(project)
    score(project, batch="part0")
    for one in flagged_of(project):
        done = CliRunner().invoke(app, ["verdict", str(project), one, "confirmed"])
        assert done.exit_code == 0, done.output
    notify_scored(project, enqueue(project).batches)
    assert workspace.store.queue.tallies("meters", "part0")["part0"].open == 0
    assert hook.messages == []


def flagged_of(project: Path) -> list[str]:
    done = CliRunner().invoke(app, ["flagged", str(project), "--json", "--top", "1000"])
    return [str(one["id"]) for one in json.loads(done.output)]


def alarm(project: Path) -> None:
    """Score a batch, and let its drift be an alarm."""
    score(project, batch="part0")
    drift = Workspace.open(project).store.drift
    [known] = drift.of("meters", batch="part0")
    named = {"kind": "column", "sentence": "power is higher than before", "columns": ["power"]}
    record = {**known.document["record"], "alarms": ["power level"], "drift": named}
    rung = (Alarm("power level", "column", 9.0),)
    drift.put(replace(known, document={**known.document, "record": record}, alarms=rung))


def test_an_empty_batch_drift_and_a_late_batch_are_told(project: Path, hook: Webhook) -> None:
    alarm(project)
    pq.write_table(meters(0, 5), project.parents[1] / "data" / "part5.parquet")
    score(project, batch="part5")
    notify_scored(project, enqueue(project).batches)
    titles = sorted(one["title"] for one in hook.messages)
    assert titles[1:] == ["meters: batch part5 is empty", "meters: the data changed, part0"]
    [message] = [one["message"] for one in hook.messages if "changed" in one["title"]]
    assert message.splitlines()[:2] == ["part0: power is higher than before", "Columns: power"]

    project.write_text(f"{project.read_text(encoding='utf-8')}schedule: {{cron: '0 6 * * *'}}\n", encoding="utf-8")
    in_a_week = datetime.now(UTC) + timedelta(days=7)
    for _ in range(2):
        notify_late(project, freshness(project, now=in_a_week))
    assert [one["title"] for one in hook.messages].count("meters: the data is late") == 1
    assert "No file was written since" in hook.messages[-1]["message"]
    say(project, "{on: []}")
    before = len(hook.messages)
    assert notify_late(project, freshness(project, now=in_a_week + timedelta(days=1))).sent == 0
    assert len(hook.messages) == before


def test_an_alarm_that_nothing_follows_is_not_told(project: Path, hook: Webhook) -> None:
    alarm(project)
    say(project, "{on: [drift]}")
    project.write_text(f"{project.read_text(encoding='utf-8')}drift: {{then: nothing}}\n", encoding="utf-8")
    notify_scored(project, enqueue(project).batches)
    assert hook.messages == []


def test_a_run_that_failed_is_told_also_where_the_file_cannot_be_read(project: Path, hook: Webhook) -> None:
    project.write_text("name: [", encoding="utf-8")
    for _ in range(2):
        notify_failed(
            project, run="score meters", run_id="r1", message="no postgresql://me:pa55@db/x", link="http://prefect/1"
        )
    [message] = hook.messages
    assert message["title"] == "meters: score meters failed"
    assert message["type"] == "failure"
    assert "pa55" not in message["message"]
    assert message["message"].endswith("Open the run: http://prefect/1")


def test_cells_and_redacted_columns_do_nothing_in_a_message(
    tmp_path: Path, trained_project: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(trained_project, folder)
    project, secret = folder / "pipelines/meters.yaml", "Xq7-secret-holder"
    text = project.read_text(encoding="utf-8").replace("key: [id]", "key: [id, holder]\n  redact: [holder, hour]")
    project.write_text(text.replace("data/*", "odd/*"), encoding="utf-8")
    (folder / "odd").mkdir()
    table = meters(300, 11)
    power, hour = table["power"].to_numpy().copy(), table["hour"].to_numpy().copy()
    power[3], hour[3] = 1e5, 13.271828
    names = np.array([f"<!channel> [x](http://evil.example) {number}" for number in range(300)], dtype=object)
    odd = table.set_column(3, "power", pa.array(power)).set_column(2, "hour", pa.array(hour))
    odd = odd.set_column(0, "id", pa.array(names))
    pq.write_table(odd.append_column("holder", pa.array([secret] * 300)), folder / "odd" / "part9.parquet")
    with mailbox() as box:
        monkeypatch.setenv("FLOWGUARD_NOTIFY", f"{hook.json_url} {box.url}")
        assert run(project, "part9").sent == 2
    for said in (str(hook.messages), str(box.came[0])):
        assert secret not in said
        assert "13.27" not in said
    assert "‹!channel› ［x］(http：//evil.example)" in hook.messages[0]["message"]
    assert "power is unusual" in hook.messages[0]["message"], "the version does not know that hour is redacted"
    assert "<!channel>" not in str(hook.messages)


def test_two_processes_at_once_send_one_message(project: Path, hook: Webhook) -> None:
    score(project, batch="part0")
    enqueue(project, batches=["part0"])
    code = (
        "import sys; from flowguard.stages.notify import notify_scored; print('ready', flush=True); "
        "sys.stdin.readline(); print(notify_scored(sys.argv[1], ['part0']).sent)"
    )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(project)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for one in both:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in both:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    sent = [int(one.communicate(timeout=60)[0]) for one in both]
    assert sorted(sent) == [0, 1]
    assert len(hook.messages) == 1


def test_the_command_says_of_every_address_whether_it_took_the_message(
    project: Path, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(app, ["notify", str(project), "--test"])
    assert done.exit_code == 0, done.output
    assert "1. JSON at 127.0.0.1 took the message" in done.output
    assert hook.messages[0]["title"] == "flowguard: a test for meters"
    monkeypatch.setenv("FLOWGUARD_NOTIFY", f"{hook.json_url} nonsense://s3cr3t")
    done = CliRunner().invoke(app, ["notify", str(project), "--test"])
    assert done.exit_code == 1
    assert "2. nonsense://*** did not take it: no service is known by this address" in done.output
    tried = json.loads(CliRunner().invoke(app, ["notify", str(project), "--test", "--json"]).output)
    assert [bool(one["trouble"]) for one in tried] == [False, True]
    assert "s3cr3t" not in done.output
    nothing = CliRunner().invoke(app, ["notify", str(project)])
    assert (nothing.exit_code, "Nothing is due." in nothing.output) == (0, True)
