"""A real Prometheus scrapes a real `flowguard metrics`, and evaluates all of the dashboard and of the alerts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flowguard.stages.enqueue import enqueue
from flowguard.stages.score import score
from flowguard.stages.train import train
from flowguard.stages.workspace import Workspace
from flowguard.store import Verdict, Wanted
from tests.conftest import PIPELINE, write_project
from tests.e2e import compose
from tests.e2e.conftest import FLOWGUARD, ROOT
from tests.e2e.process import Running, plain_environment, running, wait_until
from tests.e2e.web import answers, asked, free_port

pytestmark = pytest.mark.e2e

DASHBOARD = json.loads((ROOT / "docker/grafana/flowguard.json").read_text(encoding="utf-8"))
RULES = ROOT / "docker/prometheus/alerts.yml"
CONFIG = ROOT / "docker/prometheus/prometheus.yml"
#: Expressions without data here, because of what did not happen: a batch of daily records, a day that passed.
WITHOUT = ("flowguard_champion_calibrated_to_timestamp_seconds", "offset 1d")


@dataclass(frozen=True)
class Watched:
    """A project with `flowguard metrics` on it, and a Prometheus that scrapes that."""

    page: str
    prometheus: str
    metrics: Running

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression gives now; fails where Prometheus does not take it."""
        answer = asked(f"{self.prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        assert answer["status"] == "success", (expression, answer)
        assert not answer.get("warnings"), (expression, answer["warnings"])
        return list(answer["data"]["result"])

    def value(self, expression: str) -> float:
        """The one number of an expression."""
        (found,) = self.query(expression)
        return float(found["value"][1])


def promtool(*words: object, given: str | None = None) -> str:
    """What promtool says; fails when it finds a fault."""
    assert shutil.which("promtool"), "these tests need Prometheus: `apt-get install prometheus`, as .ci/run does"
    command = ["promtool", *map(str, words)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("metrics")
    path = write_project(folder / "project", PIPELINE + 'schedule: {cron: "0 5 * * *"}\n')
    train(path)
    score(path)
    enqueue(path)
    store = Workspace.open(path).store
    (one, *_) = store.queue.records("meters", Wanted(), most=1)
    entry = Verdict("meters", one.batch, one.record_id, 1, "confirmed", "", "ada", one.score, one.p_value, flagged=True)
    store.verdicts.put(entry, seen=None)
    path.write_text(path.read_text(encoding="utf-8").replace("epochs: 3", "epochs: 2"), encoding="utf-8")
    train(path)  # the challenger
    command = [FLOWGUARD, "metrics", "--port", "0", "--json"]
    said = folder / "metrics.txt"
    environment = plain_environment(OMP_NUM_THREADS="1")
    with running(command, cwd=folder / "project", environment=environment, log=said) as metrics:
        wait_until(lambda: "url" in said.read_text(), 60, "flowguard metrics", by=metrics, every=0.2)
        page = json.loads(said.read_text().splitlines()[-1])["url"]
        # Every alert and target as in production, but sooner.
        config = CONFIG.read_text(encoding="utf-8").replace("metrics:9464", page.split("/")[2])
        config = re.sub(r"_interval: \d+s", "_interval: 1s", config)
        (folder / "prometheus.yml").write_text(config)
        shutil.copy(RULES, folder)
        port = free_port()
        serve = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        assert shutil.which("prometheus"), "these tests need Prometheus: `apt-get install prometheus`, as .ci/run does"
        with running(serve, cwd=folder, environment=environment, log=folder / "prometheus.txt") as prometheus:
            found = Watched(page, f"http://127.0.0.1:{port}", metrics)
            wait_until(lambda: answers(f"{found.prometheus}/-/ready"), 30, "Prometheus", by=prometheus, every=0.2)
            # A counter has an increase from its second sample on.
            wait_until(
                lambda: bool(found.query("count_over_time(flowguard_source_up[1m]) > 2")), 30, "scrapes", by=prometheus
            )
            yield found


def test_promtool_finds_no_fault_in_what_is_served_nor_in_the_files(watched: Watched, tmp_path: Path) -> None:
    with urllib.request.urlopen(watched.page, timeout=10) as reply:
        assert promtool("check", "metrics", given=reply.read().decode()) == ""
    assert "SUCCESS" in promtool("check", "config", CONFIG)
    assert "SUCCESS" in promtool("check", "rules", RULES)
    for file in (RULES, ROOT / "tests/e2e/alerts.yml"):
        shutil.copy(file, tmp_path / ("test.yml" if file != RULES else file.name))
    assert "SUCCESS" in promtool("test", "rules", tmp_path / "test.yml")


def test_what_was_scored_and_decided_arrives_in_prometheus(watched: Watched) -> None:
    assert watched.value('up{job="flowguard"}') == 1
    assert watched.value("sum(flowguard_records)") == 3000
    flagged = watched.value('flowguard_records{outcome="flagged"}')
    assert flagged > 1
    assert watched.value('flowguard_queue_records{state="open"}') == flagged - 1
    assert watched.value('flowguard_verdicts_total{decision="confirmed"}') == 1
    assert watched.value('flowguard_last_batch_p_value_bucket{le="+Inf"}') == 1000
    assert 0.2 < watched.value('flowguard_last_batch_p_value_bucket{le="0.5"}') / 1000 < 0.8
    assert watched.value("histogram_quantile(0.5, flowguard_last_batch_p_value_bucket)") == pytest.approx(0.5, abs=0.2)
    assert 0 <= watched.value("time() - flowguard_champion_created_timestamp_seconds") < 600
    assert watched.query("flowguard_challenger_info")[0]["metric"]["version"] == "2"
    assert watched.value("process_resident_memory_bytes") > 0


def expressions() -> list[tuple[str, str]]:
    """Every expression of the dashboard, with the title of its panel."""
    return [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_every_expression_of_the_dashboard_is_taken_and_has_data(watched: Watched) -> None:
    assert len(expressions()) > 30
    for title, expression in expressions():
        plain = expression.replace("$pipeline", ".*")
        assert "$" not in plain, (title, "a variable that this test does not know")
        found = watched.query(plain)
        assert bool(found) != any(one in expression for one in WITHOUT), (title, expression, found)
    chosen = watched.query(expressions()[0][1].replace("$pipeline", "meters"))
    assert [one["metric"] for one in chosen] == [{"pipeline": "meters"}]
    assert watched.query(expressions()[0][1].replace("$pipeline", "orders")) == []
    (variable,) = [one for one in DASHBOARD["templating"]["list"] if one["name"] == "pipeline"]
    match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
    assert match is not None
    listed = asked(f"{watched.prometheus}/api/v1/label/{match[2]}/values?match[]={match[1]}")
    assert listed["data"] == ["meters"]


def test_the_dashboard_is_whole(watched: Watched) -> None:
    panels = DASHBOARD["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        mine = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not mine & taken, (panel["title"], "lies over another")
        assert all(x < 24 for x, _ in mine), panel["title"]
        taken |= mine
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
    names = set(re.findall(r"\bflowguard_\w+", json.dumps(DASHBOARD) + RULES.read_text(encoding="utf-8")))
    known = asked(f"{watched.prometheus}/api/v1/metadata")["data"]
    served = {one["metric"]["__name__"] for one in watched.query('{job="flowguard"}')}
    assert names - served - set(known) == set(), "what nobody tells"


def test_every_alert_is_evaluated_and_none_is_raised_by_a_healthy_project(watched: Watched) -> None:
    groups = asked(f"{watched.prometheus}/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == 13
    assert {rule["health"] for rule in rules} == {"ok"}, [rule for rule in rules if rule["health"] != "ok"]
    for rule in rules:
        watched.query(rule["query"])
    assert [rule["name"] for rule in rules if rule["state"] != "inactive"] == []


def test_it_ends_when_it_is_asked_to(watched: Watched) -> None:
    assert watched.metrics.stop(15) == 0


def test_the_provisioned_files_are_those_that_are_mounted() -> None:
    services = compose.read()["services"]
    mounted = [volume for name in ("prometheus", "grafana") for volume in services[name]["volumes"]]
    for volume in mounted:
        source = volume.split(":")[0]
        assert not source.startswith(".") or (ROOT / "docker" / source).exists(), volume
    provider = YAML(typ="safe").load((ROOT / "docker/grafana/dashboards.yaml").read_text(encoding="utf-8"))
    (folder,) = [one["options"]["path"] for one in provider["providers"]]
    assert any(volume.split(":")[1] == f"{folder}/flowguard.json" for volume in mounted)
    (source,) = YAML(typ="safe").load((ROOT / "docker/grafana/datasource.yaml").read_text(encoding="utf-8"))[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]
    assert {services[name]["image"].rpartition(":")[2] for name in ("prometheus", "grafana")}.isdisjoint({"", "latest"})


def test_grafana_does_not_start_without_a_password(tmp_path: Path) -> None:
    shell, option, line = compose.read()["services"]["grafana"]["entrypoint"]
    for password, code in (("", 1), ("chosen", 0)):
        (tmp_path / "grafana").write_text(password)
        here = line.replace("/run/secrets/grafana", str(tmp_path / "grafana")).replace("/run.sh", "true")
        done = subprocess.run([shell, option, here], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert ("GRAFANA_PASSWORD" in done.stderr) == bool(code)
