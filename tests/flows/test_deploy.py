"""What is deployed of a pipeline file, and what deploying would change; no server is needed to know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from ruamel.yaml import YAML

from flows.deploy import declared, deploy  # isort: skip  (sets Prefect's defaults before it is imported)

from flowguard.errors import InputError, PipelineError
from flowguard.spec import load_pipeline
from flows.deployment import SLUG, Deployment, Project, Schedule, deployments_of
from flows.difference import There, difference, facts
from tests.conftest import PIPELINE, write_project

SCHEDULED = PIPELINE + "schedule: {cron: '30 5 * * 1-5', timezone: Europe/Berlin}\n"
PAUSED = SCHEDULED.replace("Berlin}", "Berlin, active: false}")
FLOWS = ["score", "monitor", "train", "recalibrate", "enqueue"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one scheduled pipeline and a file where its flows would be."""
    folder = write_project(tmp_path / "site", SCHEDULED).parents[1]
    (folder / "flows").mkdir()
    (folder / "flows" / "score.py").touch()
    return Project.at(folder, name="site")


def wanted_of(project: Project, text: str = SCHEDULED) -> dict[str, Deployment]:
    """The deployments of the project's pipeline when its file reads `text`, by flow."""
    path = project.folder / "pipelines" / "meters.yaml"
    path.write_text(text, encoding="utf-8")
    return {one.flow: one for one in deployments_of(load_pipeline(path), project)}


def on_server(one: Deployment, **changed: Any) -> There:
    """The deployment as a server has it once it is made; without a word about `active` it is."""
    when = one.schedule and replace(one.schedule, active=one.schedule.active is not False)
    schedules = () if when is None else ((uuid4(), SLUG, when),)
    there = There(uuid4(), one.full_name, one.tags, facts(one), schedules)
    return replace(there, **changed)


# -- what is wanted --------------------------------------------------------------------------------------------------


def test_five_flows_are_deployed_and_two_of_them_follow_the_schedule(project: Project) -> None:
    wanted = wanted_of(project)
    assert list(wanted) == FLOWS
    assert {one.full_name for one in wanted.values()} == {f"{flow}/meters" for flow in FLOWS}
    scheduled = [flow for flow, one in wanted.items() if one.schedule]
    assert scheduled == ["score", "monitor"]
    score = wanted["score"]
    assert score.schedule == Schedule("30 5 * * 1-5", "Europe/Berlin", None)
    assert score.parameters == {"pipeline": "pipelines/meters.yaml"}
    assert score.entrypoint == "flows/score.py:score"
    assert score.tags == ("flowguard", "meters")
    assert (score.pool, score.collision) == ("cpu", "ENQUEUE")
    assert set(score.form["properties"]) >= {"pipeline", "since", "until", "force"}
    assert list(score.pull_steps[0].values()) == [{"directory": str(project.folder)}]


def test_pruning_is_deployed_where_the_file_asks_for_it_and_goes_where_it_no_longer_does(
    project: Project,
) -> None:
    assert "prune" not in wanted_of(project, SCHEDULED + "retention: {}\n")
    asked = wanted_of(project, SCHEDULED + "retention: {scores: 400}\n")
    assert list(asked) == [*FLOWS, "prune"]
    assert asked["prune"].schedule == asked["score"].schedule
    assert set(asked["prune"].form["properties"]) == {"pipeline", "dry_run"}
    there = [on_server(one) for one in asked.values()]
    wanted = list(wanted_of(project).values())
    for every in (True, False):
        found = difference(wanted, there, project="site", every=every)
        assert [one.full_name for one in found.remove] == ["prune/meters"]
    others = list(wanted_of(project, SCHEDULED.replace("name: meters", "name: others")).values())
    assert difference(others, there, project="site", every=False).remove == ()


def test_the_file_decides_on_pool_collision_time_and_rest(project: Project) -> None:
    text = PIPELINE.replace("resources: {threads: 1", "resources: {device: cuda, hours: 1.5, threads: 1")
    text += "schedule: {cron: '0 6 * * *', active: false, collision: cancel}\n"
    wanted = wanted_of(project, text)
    assert {flow: one.pool for flow, one in wanted.items() if one.pool != "cpu"} == {"train": "gpu"}
    assert {flow for flow, one in wanted.items() if one.collision == "CANCEL_NEW"} == {"score"}
    assert wanted["score"].schedule == Schedule("0 6 * * *", "UTC", False)
    assert wanted["train"].job_variables == {"env": {"FLOWGUARD_PROJECT": "site", "FLOWGUARD_HOURS": "1.5"}}


def test_in_containers_the_project_has_another_folder(project: Project, tmp_path: Path) -> None:
    inside = Project.at(project.folder, there="/project", image="registry/site:3")
    score = wanted_of(inside)["score"]
    assert score.job_variables["image"] == "registry/site:3"
    assert score.parameters == {"pipeline": "pipelines/meters.yaml"}
    assert list(score.pull_steps[0].values()) == [{"directory": "/project"}]
    elsewhere = load_pipeline(write_project(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="outside of the project folder"):
        deployments_of(elsewhere, inside)
    assert deployments_of(elsewhere, project)[0].parameters == {"pipeline": str(elsewhere.path)}
    with pytest.raises(InputError, match="--folder"):
        Project.at(project.folder, image="registry/site:3")


def test_a_folder_without_flows_or_pipelines_is_refused(project: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no flows/score\.py"):
        Project.at(tmp_path)
    with pytest.raises(InputError, match="--name"):
        Project.at(project.folder, name="two words")
    other = project.folder / "pipelines" / "other.yml"
    other.write_text(SCHEDULED, encoding="utf-8")
    with pytest.raises(InputError, match=r"both named 'meters'"):
        project.pipelines()
    other.write_text("polcy: {}\n", encoding="utf-8")
    with pytest.raises(PipelineError, match="polcy"):
        project.pipelines()


# -- what changes ----------------------------------------------------------------------------------------------------


def test_on_an_empty_server_everything_is_made_and_then_nothing_more(project: Project) -> None:
    wanted = list(wanted_of(project).values())
    first = difference(wanted, [], project="site", every=True)
    assert (len(first.create), first.change, first.remove, first.same) == (5, (), (), ())
    again = difference(wanted, [on_server(one) for one in wanted], project="site", every=True)
    assert (again.create, again.change, again.remove) == ((), (), ())
    assert again.same == tuple(one.full_name for one in wanted)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SCHEDULED.replace("30 5", "45 5"), ("30 5 * * 1-5 Europe/Berlin", "45 5 * * 1-5 Europe/Berlin")),
        (SCHEDULED.replace("Europe/Berlin", "UTC"), ("30 5 * * 1-5 Europe/Berlin", "30 5 * * 1-5 UTC")),
        (PIPELINE, ("30 5 * * 1-5 Europe/Berlin", "none")),
        (PAUSED, ("30 5 * * 1-5 Europe/Berlin", "30 5 * * 1-5 Europe/Berlin, not active")),
    ],
    ids=["time", "zone", "removed", "paused"],
)
def test_a_schedule_is_changed_or_taken_away(project: Project, text: str, told: tuple[str, str]) -> None:
    there = on_server(wanted_of(project)["score"])
    (change,) = difference([wanted_of(project, text)["score"]], [there], project="site", every=False).change
    assert change.facts["schedule"] == told
    assert set(change.facts) == {"schedule", "version"}


def test_a_schedule_that_somebody_paused_or_added_is_seen(project: Project) -> None:
    score = wanted_of(project)["score"]
    assert score.schedule is not None
    paused = (uuid4(), SLUG, replace(score.schedule, active=False))
    found = difference([score], [on_server(score, schedules=(paused,))], project="site", every=True)
    assert found.change == (), "the file says nothing of `active`: it is left as it is"
    wished = wanted_of(project, SCHEDULED.replace("Berlin}", "Berlin, active: true}"))["score"]
    (change,) = difference([wished], [on_server(score, schedules=(paused,))], project="site", every=True).change
    assert change.facts["schedule"][1] == "30 5 * * 1-5 Europe/Berlin"
    # A second one, or one of another kind: the file has one, and that is what stays.
    twice = (*on_server(score).schedules, (uuid4(), None, None))
    (change,) = difference([score], [on_server(score, schedules=twice)], project="site", every=True).change
    assert change.facts == {"schedule": ("30 5 * * 1-5 Europe/Berlin, no cron", "30 5 * * 1-5 Europe/Berlin")}


def test_only_what_changed_is_named(project: Project) -> None:
    train = wanted_of(project)["train"]
    there = on_server(train)
    changed = wanted_of(project, SCHEDULED.replace("resources: {", "resources: {device: cuda, "))["train"]
    (change,) = difference([changed], [there], project="site", every=True).change
    assert change.facts == {"pool": ("cpu", "gpu"), "version": (train.version, changed.version)}


def test_job_variables_that_others_set_are_kept(project: Project) -> None:
    score = wanted_of(project)["score"]
    variables = {"memory_limit": "8Gi", "env": {"MLFLOW_TRACKING_URI": "http://mlflow", "FLOWGUARD_PROJECT": "site"}}
    there = on_server(score, facts={**facts(score), "job_variables": variables})
    assert difference([score], [there], project="site", every=True).change == ()
    hours = wanted_of(project, SCHEDULED.replace("resources: {", "resources: {hours: 3, "))["score"]
    (change,) = difference([hours], [there], project="site", every=True).change
    assert change.facts["job_variables"][1]["memory_limit"] == "8Gi"
    assert change.facts["job_variables"][1]["env"] == {**variables["env"], "FLOWGUARD_HOURS": "3"}  # type: ignore[dict-item]


# -- what goes, and what is left alone -------------------------------------------------------------------------------


def gone(project: Project, name: str, *, of: str, tags: tuple[str, ...] = ("flowguard", "old")) -> There:
    """A deployment on the server that no pipeline file names."""
    score = replace(wanted_of(project)["score"], name=name, tags=tags, job_variables={"env": {"FLOWGUARD_PROJECT": of}})
    return on_server(score)


def test_what_the_folder_no_longer_has_disappears_and_nothing_else(project: Project) -> None:
    wanted = list(wanted_of(project).values())
    there = [
        *(on_server(one) for one in wanted),
        gone(project, "old", of="site"),
        gone(project, "others", of="another site"),
        gone(project, "untagged", of="site", tags=("mine",)),
    ]
    assert [one.full_name for one in difference(wanted, there, project="site", every=True).remove] == ["score/old"]
    assert difference(wanted, there, project="site", every=False).remove == (), (
        "some files only: the rest is not judged"
    )


def test_a_name_that_is_somebody_elses_is_refused(project: Project) -> None:
    score = wanted_of(project)["score"]
    foreign = on_server(score, tags=("mine",))
    for take_over in (False, True):
        with pytest.raises(InputError, match="not flowguard's"):
            difference([score], [foreign], project="site", every=True, take_over=take_over)
    others = gone(project, "meters", of="another site")
    with pytest.raises(InputError, match="belongs to the project another site"):
        difference([score], [others], project="site", every=True)
    taken = difference([score], [others], project="site", every=True, take_over=True)
    assert [change.wanted.full_name for change in taken.change] == ["score/meters"]
    served = on_server(score, facts={**facts(score), "pool": None, "job_variables": {}})
    (change,) = difference([score], [served], project="site", every=True).change
    assert change.facts["pool"] == (None, "cpu"), "what python -m flows.serve left is taken over"


# -- prefect.yaml, and no server -------------------------------------------------------------------------------------


def test_the_declared_form_says_the_same(project: Project) -> None:
    wanted = wanted_of(project)
    document = YAML(typ="safe").load(declared(project))
    assert [one["entrypoint"] for one in document["deployments"]] == [one.entrypoint for one in wanted.values()]
    score = document["deployments"][0]
    assert score["schedules"] == [{"cron": "30 5 * * 1-5", "timezone": "Europe/Berlin", "slug": SLUG}]
    assert score["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert score["work_pool"] == {"name": "cpu", "job_variables": {"env": {"FLOWGUARD_PROJECT": "site"}}}
    assert document["deployments"][2]["schedules"] == []


def test_without_a_server_it_says_how_to_start_one(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "flows.local.get_current_settings", lambda: type("S", (), {"api": type("A", (), {"url": None})})
    )
    with pytest.raises(InputError, match="prefect server start"):
        deploy(project)
