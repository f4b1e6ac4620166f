"""A night in which everything fails once, and 200 batches after it.

In the end every batch has been scored once, with a stated version, and stands in the store and in the queue.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from flowguard.stages.manifest import manifests
from tests.e2e import compose
from tests.e2e.compose import BIN
from tests.e2e.conftest import MEASURED, ROOT
from tests.e2e.night import ROWS, SCHEDULED, Night

pytestmark = pytest.mark.e2e

SERVICES = ("mlflow", "prefect", "worker", "review")
DATABASES = ("flowguard", "prefect", "mlflow")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    with compose.site(tmp_path_factory.mktemp("night"), {"meters.yaml": SCHEDULED}) as site:
        made = Night(site)
        made.begin()
        yield made


def test_the_schedule_fires_and_what_is_delivered_again_is_scored_again_if_it_changed(night: Night) -> None:
    night.all_scored()
    first = night.scored()
    assert {one.version for one in first.values()} == {1}
    assert all(one.run for one in first.values()), "by a flow run"
    os.utime(night.site.project / "data" / "part0.parquet")
    night.deliver([1], seed=1000)
    night.wait_for(lambda: night.scored()["part1"].fingerprint != first["part1"].fingerprint, "part1 is scored again")
    assert night.scored()["part0"].started == first["part0"].started, "the same content is not scored again"
    night.wait_for(
        lambda: night.store().queue.queued("meters")["part1"][2] == night.scored()["part1"].fingerprint, "it is queued"
    )


def test_prefects_page_of_the_run_links_to_the_desk_and_to_mlflow(night: Night) -> None:
    found = night.prefect("/artifacts/latest/filter", artifacts={"key": {"any_": ["meters-strangest"]}})
    links = dict(re.findall(r"\[([^\]]+)\]\(([^)]+)\)", found[0]["data"].split("| record |")[0]))
    assert links["version 1 in MLflow"] == f"{night.site.url('mlflow')}/#/models/meters/versions/1"
    assert links["part0"] == f"{night.site.url('review')}/p/meters/batches/part0"
    assert httpx.get(links["part0"], headers={"Host": "localhost"}).headers["location"].startswith("/login")


def test_postgresql_stops_for_20_seconds_in_the_middle(night: Night) -> None:
    night.deliver(range(10, 40))
    night.under_way()
    night.site.stop("postgres")
    assert set(night.scored()) != night.delivered
    time.sleep(20)
    night.site.start("postgres")
    night.all_scored(420)


def test_the_worker_is_killed_in_the_middle(night: Night) -> None:
    block = re.search(r"```yaml\n# lost\.yaml\n(.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL)
    assert block is not None
    (night.site.project / "lost.yaml").write_text(block[1], encoding="utf-8")
    night.site.run([str(BIN / "prefect"), "automation", "create", "--from-file", "lost.yaml"], "worker")
    night.deliver(range(40, 70))
    night.under_way()
    night.site.services.pop("worker").kill()
    assert set(night.scored()) != night.delivered
    night.site.start("worker")
    night.all_scored(420)


def test_prefects_server_is_restarted_in_the_middle(night: Night) -> None:
    night.deliver(range(70, 100))
    night.under_way()
    night.site.stop("prefect")
    time.sleep(5)
    night.site.start("prefect")
    night.all_scored(420)


def test_a_promotion_in_the_middle_waits_for_the_next_run(night: Night) -> None:
    before = set(night.scored())
    night.deliver(range(100, 130))
    night.under_way()
    night.flowguard("promote", "meters", "2")
    night.all_scored()
    night.deliver([130])
    night.all_scored()
    scored = night.scored()
    by_run: dict[str | None, set[int]] = {}
    for one in scored.values():
        by_run.setdefault(one.run, set()).add(one.version)
    assert all(len(versions) == 1 for versions in by_run.values()), "no run mixes two versions"
    assert scored["part130"].version == 2
    assert 1 in {scored[name].version for name in night.delivered - before}, "the run under way kept its version"


def test_200_batches_leave_memory_files_and_databases_level(night: Night, pytestconfig: pytest.Config) -> None:
    memory: dict[str, list[float]] = {name: [] for name in SERVICES}
    files: dict[str, list[int]] = {name: [] for name in SERVICES}
    size: dict[str, list[float]] = {name: [] for name in DATABASES}
    for start in range(200, 400, 40):
        night.deliver(range(start, start + 40))
        night.hurry()
        night.all_scored()
        for name in SERVICES:
            memory[name].append(night.megabytes(name))
            files[name].append(night.files(name))
        for name in DATABASES:
            size[name].append(night.database(name))
    said = [
        f"soak of 200 batches, {what} after 40 and after 200: "
        + ", ".join(f"{name} {values[0]:,.0f} -> {values[-1]:,.0f}" for name, values in found.items())
        for what, found in (("MB of memory", memory), ("open files", files), ("MB of database", size))
    ]
    pytestconfig.stash.setdefault(MEASURED, []).extend(said)
    for name in SERVICES:
        assert max(memory[name][3:]) < 1.15 * max(memory[name][1:3]) + 20, (name, memory[name])
        assert max(files[name][3:]) <= max(files[name][1:3]) + 10, (name, files[name])
    for name in DATABASES:
        grown = np.diff(size[name])
        assert grown[2:].mean() < 1.5 * grown[:2].mean() + 0.5, f"{name} grows faster and faster: {size[name]}"


def test_in_the_end_every_batch_was_scored_once_and_nothing_is_lost(night: Night) -> None:
    store, scored = night.store(), night.scored()
    assert set(scored) == night.delivered
    every = list(manifests(night.outputs))
    assert len(every) == len(scored), "one manifest a batch: none was scored by two versions"
    known = {(one.batch, one.version, one.fingerprint) for one in store.batches.of("meters")}
    assert known == {(one.batch, one.version, one.fingerprint) for one in every}
    assert {one.batch for one in store.drift.of("meters")} == night.delivered
    assert all(one.read == ROWS == one.scored + one.quarantined_total for one in every)
    tallies = store.queue.tallies("meters")
    flagged = {one.batch: one.flagged for one in every if one.flagged}
    assert {name: tally.open for name, tally in tallies.items() if tally.open} == flagged
    asked = {"flow_runs": {"state": {"type": {"any_": ["CRASHED"]}}}}
    assert night.prefect("/flow_runs/filter", **asked), "the run whose worker was killed is said to have crashed"
