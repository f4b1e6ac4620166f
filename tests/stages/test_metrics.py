"""Metrics: the figures of the store, the registry, the newest manifest and the source; what is down is said to be."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from flowguard.errors import InputError, StoreError
from flowguard.stages.manifest import latest, manifest_path
from flowguard.stages.metrics import Metrics, find, printed, serve, write
from flowguard.stages.metrics.part import Part
from flowguard.stages.score import score
from flowguard.stages.workspace import Workspace
from flowguard.store import Verdict, Wanted
from tests.conftest import write_project
from tests.review.web.room_sample import scored_project

ROOT = Path(__file__).parents[2]
LABELS = {"pipeline", "version", "outcome", "alarm", "state", "decision", "digest", "part", "le"}


@pytest.fixture(scope="module")
def scored(trained_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline whose batches are scored and queued; to be read only."""
    return scored_project(trained_project, tmp_path_factory.mktemp("metrics") / "project")


@pytest.fixture
def own(scored: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    shutil.copytree(scored.parents[1], tmp_path / "project")
    return tmp_path / "project/pipelines/meters.yaml"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def told(*paths: Path) -> dict[str, float]:
    """Every sample of these pipelines, read once, by its name and labels as the text has them."""
    metrics = Metrics(find(paths, Path("/nowhere")))
    metrics.read()
    return samples(printed(metrics))


def samples(text: str) -> dict[str, float]:
    return {
        one.name + json.dumps(one.labels, sort_keys=True): one.value
        for family in parsed(text)
        for one in family.samples
    }


def key(name: str, pipeline: str = "meters", **labels: str) -> str:
    return f"flowguard_{name}" + json.dumps({"pipeline": pipeline, **labels}, sort_keys=True)


def test_records_and_flags_are_those_of_the_manifests(scored: Path) -> None:
    found = told(scored)
    manifests = latest(scored.parents[1] / "runs/meters")
    assert len(manifests) == found[key("batches", version="1")] == 4
    for outcome, counts in {
        "ordinary": [one.scored - one.flagged for one in manifests.values()],
        "flagged": [one.flagged for one in manifests.values()],
        "quarantined": [one.quarantined_total for one in manifests.values()],
    }.items():
        assert found[key("records", version="1", outcome=outcome)] == sum(counts), outcome
    last = max(manifests.values(), key=lambda one: one.started)
    assert found[key("last_scored_timestamp_seconds")] == pytest.approx(
        Workspace.open(scored).store.batches.of("meters", batch=last.batch)[0].scored_at.timestamp()
    )
    assert found[key("last_batch_records", outcome="ordinary")] == last.scored - last.flagged
    assert found[key("last_batch_flag_ratio")] == pytest.approx(last.flagged / last.scored)
    assert found[key("last_batch_flag_ratio_asked")] == 0.01
    assert found[key("last_batch_scoring_seconds")] == last.seconds
    assert last.p_values is not None
    for level, count in last.p_values.up_to.items():
        assert found[key("last_batch_p_value_bucket", le=str(float(level)))] == count
    assert found[key("last_batch_p_value_bucket", le="+Inf")] == last.scored
    assert found[key("last_batch_p_value_gcount")] == last.scored
    assert found[key("last_batch_p_value_gsum")] == last.p_values.sum


def test_the_champion_drift_and_delivery_are_told(scored: Path) -> None:
    found = told(scored)
    workspace = Workspace.open(scored)
    champion = workspace.registry.resolve("meters")
    assert found[key("champion_info", version="1", digest=champion.digest)] == 1
    assert found[key("champion_created_timestamp_seconds")] == pytest.approx(champion.created.timestamp())
    assert found[key("champion_promoted_timestamp_seconds")] >= champion.created.timestamp()
    assert found[key("versions")] == 1
    observed = workspace.store.drift.of("meters")
    alarmed = sum(bool(one.alarms) for one in observed)
    assert found[key("drift_batches", version="1", alarm="true")] == alarmed
    assert found[key("drift_batches", version="1", alarm="false")] == len(observed) - alarmed
    newest = max(observed, key=lambda one: one.measured_at)
    assert found[key("last_batch_drift_p_value")] == newest.document["record"]["p_value"]
    assert found[key("batches_waiting")] == 0
    assert found[key("batch_late")] == 0, "nothing is expected without a schedule"
    assert [found[key(f"{part}_up")] for part in ("store", "registry", "source")] == [1, 1, 1]


def test_the_queue_follows_what_is_decided(own: Path) -> None:
    before = told(own)
    store = Workspace.open(own).store
    (one, *_) = store.queue.records("meters", Wanted(), most=1)
    store.verdicts.put(
        Verdict("meters", one.batch, one.record_id, 1, "confirmed", "", "ada", one.score, one.p_value, flagged=True),
        seen=None,
    )
    after = told(own)
    state = {name: key("queue_records", state=name) for name in ("open", "confirmed", "false_alarm", "suppressed")}
    assert before[state["open"]] == sum(tally.open for tally in store.queue.tallies("meters").values()) + 1
    assert after[state["open"]] == before[state["open"]] - 1
    assert (before[state["confirmed"]], after[state["confirmed"]]) == (0, 1)
    assert after[key("verdicts_total", decision="confirmed")] == 1
    assert after[key("queue_open_since_timestamp_seconds")] == pytest.approx(
        min(one.scored_at for one in store.queue.batches("meters")).timestamp()
    )


def test_a_new_batch_waits_until_it_is_scored(own: Path) -> None:
    score(own)  # the files of a copy are other files
    assert told(own)[key("batches_waiting")] == 0
    part = own.parents[1] / "data/part0.parquet"
    shutil.copy(part, part.with_name("part8.parquet"))
    assert told(own)[key("batches_waiting")] == 1
    score(own)
    found = told(own)
    assert found[key("batches_waiting")] == 0
    assert found[key("batches", version="1")] == 5


def test_both_formats_are_read_by_their_parsers_and_no_label_grows_with_the_data(scored: Path) -> None:
    metrics = Metrics(find([scored], Path()))
    metrics.read()
    registry = CollectorRegistry()
    registry.register(metrics)
    strict = list(parsed_openmetrics(openmetrics(registry).decode()))
    loose = list(parsed(printed(metrics)))
    assert {one.name for one in strict} == {one.name for one in metrics.collect()}
    assert all(one.name.startswith("flowguard_") and one.documentation for one in loose)
    assert {name for family in loose if family.name != "flowguard_build_info" for one in family.samples
            for name in one.labels} <= LABELS  # fmt: skip
    assert next(one.type for one in strict if one.name == "flowguard_last_batch_p_value") == "gaugehistogram"


def test_before_anything_is_read_or_scored_there_is_nothing_and_no_failure(tmp_path: Path) -> None:
    path = write_project(tmp_path / "project")
    metrics = Metrics(find([path], tmp_path))
    assert {one.name for one in metrics.collect() if one.samples} == {"flowguard_build", "flowguard_pipeline_info"}
    metrics.read()
    found = samples(printed(metrics))
    assert found[key("batches_waiting")] == 3
    assert found[key("versions")] == 0
    assert not any("last_batch" in name or "champion" in name for name in found)


def test_a_store_that_is_down_is_told_and_the_rest_goes_on(
    own: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FLOWGUARD_STORE", f"postgresql://me:secret@127.0.0.1:{closed_port}/flowguard")
    metrics = Metrics(find([own], Path()))
    server, thread = serve(metrics, host="127.0.0.1", port=0)
    try:
        metrics.read()
        metrics.read()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=10) as reply:
            assert reply.status == 200
            found = samples(reply.read().decode())
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
    assert [found[key(f"{part}_up")] for part in ("store", "registry", "source")] == [0, 1, 1]
    assert not any("_records" in name for name in found), "nothing old is told as if it were new"
    assert found[key("champion_info", version="1", digest=_digest(own))] == 1
    assert "process_resident_memory_bytes{}" in found
    said = [one.getMessage() for one in caplog.records if one.name == "flowguard.metrics"]
    assert len(said) == 1, "told once, not with every reading"
    assert "does not answer" in said[0]
    assert "secret" not in said[0]


def test_a_registry_that_is_down_is_told(own: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    found = told(own)
    assert [found[key(f"{part}_up")] for part in ("store", "registry")] == [1, 0]
    assert not any("champion_info" in name for name in found)


def test_a_source_that_is_gone_is_told(own: Path) -> None:
    shutil.rmtree(own.parents[1] / "data")
    found = told(own)
    assert found[key("source_up")] == 0
    assert found[key("store_up")] == 1


def test_a_manifest_that_is_damaged_or_elsewhere_costs_what_it_alone_tells(own: Path) -> None:
    last = Workspace.open(own).store.totals.of("meters").last
    assert last is not None
    path = manifest_path(own.parents[1] / "runs/meters", last.batch, 1)
    document = json.loads(path.read_text())
    del document["p_values"]
    path.write_text(json.dumps(document))
    found = told(own)
    assert found[key("last_batch_manifest_up")] == 1, "of a release that kept no p-values"
    assert not any("p_value_bucket" in name for name in found)
    for damage in (lambda: path.write_text("{"), path.unlink):
        damage()
        found = told(own)
        assert found[key("last_batch_manifest_up")] == 0
        assert key("last_batch_scoring_seconds") not in found
        assert (found[key("store_up")], found[key("last_batch_flag_ratio_asked")]) == (1, 0.01)


def test_a_pipeline_file_that_cannot_be_read_is_down_and_stops_no_other(own: Path) -> None:
    (own.parent / "broken.yaml").write_text("name: [")
    pipelines = find([], own.parents[1])
    assert set(pipelines) == {"broken", "meters"}
    metrics = Metrics(pipelines)
    metrics.read()
    found = samples(printed(metrics))
    assert (found[key("store_up", "broken")], found[key("store_up")]) == (0, 1)
    with pytest.raises(InputError):
        find([own.parent / "broken.yaml"], own.parents[1])
    shutil.copy(own, own.with_name("again.yaml"))
    with pytest.raises(InputError, match=r"again\.yaml and .*meters\.yaml both have the name 'meters'"):
        find([], own.parents[1])
    with pytest.raises(InputError, match="There is no pipeline to tell of"):
        find([], own.parent)


def test_of_pipelines_that_share_an_address_a_silent_one_is_asked_once_per_reading(own: Path) -> None:
    asked = []

    def read(workspace: Workspace) -> int:
        asked.append(workspace.pipeline.name)
        raise StoreError("The store does not answer.")

    def families(found: Mapping[str, int]) -> Iterator[object]:
        yield from found

    part = Part("store", 1.0, read, families, address=lambda _: "one for all")  # type: ignore[arg-type]
    pipelines = {"one": own, "two": own, "three": own}
    part.refresh(pipelines)
    assert len(asked) == 1
    assert part.last is not None
    assert dict(part.last.up) == dict.fromkeys(pipelines, False)
    part.refresh(pipelines)
    assert len(asked) == 2, "it may be back"


def test_it_keeps_reading_until_it_is_stopped(own: Path) -> None:
    moments: list[int] = []
    often, stop = threading.Event(), threading.Event()

    def read(workspace: Workspace) -> int:
        moments.append(1)
        if len(moments) == 3:
            often.set()
        return 1

    part = Part("store", 0.01, read, lambda found: iter(()))
    thread = threading.Thread(target=part.keep, args=({"meters": own}, stop), daemon=True)
    thread.start()
    assert part.ready.wait(10)
    assert often.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_scrape_asks_nobody(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics(find([own], Path()))
    metrics.keep(patience=60)
    metrics.stop()
    before = printed(metrics)
    shutil.rmtree(own.parents[1])
    assert printed(metrics) == before


def test_a_file_for_node_exporter_is_whole(scored: Path, tmp_path: Path) -> None:
    metrics = Metrics(find([scored], Path()))
    metrics.read()
    write(metrics, tmp_path / "flowguard.prom")
    assert [one.name for one in tmp_path.iterdir()] == ["flowguard.prom"]
    text = (tmp_path / "flowguard.prom").read_text()
    assert samples(text) == samples(printed(metrics))
    assert "process_" not in text, "node_exporter has its own"
    with pytest.raises(InputError, match=r"does not end in \.prom"):
        write(metrics, tmp_path / "flowguard.txt")
    with pytest.raises(InputError, match="cannot be written"):
        write(metrics, tmp_path / "none" / "flowguard.prom")


def test_a_port_that_is_taken_is_wrong_input(scored: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"127\.0\.0\.1, port {port}"):
            serve(Metrics(find([scored], Path())), host="127.0.0.1", port=port)


def test_the_table_of_the_docs_has_every_metric_and_no_other(scored: Path) -> None:
    text = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| `flowguard_")]
    documented = set(re.findall(r"`(flowguard_\w+)`", "".join(lines)))
    metrics = Metrics(find([scored], Path()))
    metrics.read()
    names = {family.name for family in parsed(printed(metrics))}
    # The parser takes endings off: a counter's, and those of the histogram's gauges.
    names = {"flowguard_verdicts_total" if one == "flowguard_verdicts" else one for one in names}
    assert documented == {one for one in names if not one.endswith(("_gcount", "_gsum"))}


def _digest(path: Path) -> str:
    return Workspace.open(path).registry.resolve("meters").digest
