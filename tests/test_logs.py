"""Log lines say what they are about: run, pipeline, batch, version; as JSON every line of a command is JSON."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowguard import logs
from flowguard.errors import InputError
from flowguard.stages.progress import say, work
from flowguard.stages.score import score
from flowguard.stages.workspace import Workspace

LOG = logging.getLogger("flowguard.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The log as it was before the test."""
    root, own = logging.getLogger(), logging.getLogger("flowguard")
    handlers, level = list(root.handlers), own.level
    yield
    logging.captureWarnings(False)
    logs._State.form, logs._State.run = "text", staticmethod(lambda: None)
    root.handlers[:] = handlers
    own.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_every_line_has_the_four_and_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    LOG.info("outside")
    with logs.scope(pipeline="meters"):
        LOG.warning("read %d of %s", 3, "meine Zähler", extra={"rows": 3})
        with logs.scope(batch="part0"):
            logs.note(version=7)
            logging.getLogger("somebody.else").error("inner")
        LOG.debug("not from info on")
        LOG.info("outer", extra={"pipeline": "pumps"})
    first, second, third, fourth = lines(capsys)
    assert {"time", "level", "logger", "message", *logs.FIELDS} <= set(first)
    assert (first["pipeline"], first["batch"], first["version"]) == (None, None, None)
    assert (second["message"], second["rows"], second["level"]) == ("read 3 of meine Zähler", 3, "WARNING")
    assert (third["logger"], third["pipeline"], third["batch"], third["version"]) == (
        "somebody.else",
        "meters",
        "part0",
        7,
    )
    assert (fourth["pipeline"], fourth["batch"], fourth["version"]) == ("pumps", None, None)
    assert len({line["run"] for line in (first, second, third, fourth)}) == 1, "one process, one run"
    assert first["time"].endswith("+00:00")


def test_a_scope_ends_and_an_error_remembers_where_it_came_from() -> None:
    @logs.scoped
    def stage() -> None:
        """What it does."""
        logs.note(pipeline="meters", batch="part1")
        raise InputError("wrong")

    logs.note(pipeline="nobody's")  # outside of a scope: nothing
    with pytest.raises(InputError) as error, logs.scope(run="r1"):
        stage()
    assert logs.fields_of(error.value) == {"run": "r1", "pipeline": "meters", "batch": "part1"}
    assert logs._scope.get() is None
    assert stage.__doc__ == "What it does."


def test_who_knows_the_run_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    logs.runs_from(lambda: "flow-run-1")
    LOG.info("in a flow")
    with logs.scope(run="named"):
        LOG.info("named")
    assert [line["run"] for line in lines(capsys)] == ["flow-run-1", "named"]


def test_passwords_are_hidden_also_in_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    try:
        raise OSError("no postgresql://me:secret@db/x here")
    except OSError:
        LOG.exception("could not open %s", "postgresql://me:secret@db/x")
    (line,) = lines(capsys)
    assert line["message"] == "could not open postgresql://me:***@db/x"
    assert "postgresql://me:***@db/x here" in line["error"]
    assert "secret" not in str(line)


def test_text_is_for_people_and_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers[:] = []
    logs.configure("text")
    with logs.scope(pipeline="meters", version=2):
        LOG.info("quiet")
        LOG.warning("loud")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("WARNING flowguard.test: loud [pipeline meters, version 2]")
    logs.configure("text", "debug")
    LOG.debug("asked for")
    assert capsys.readouterr().err.count("asked for") == 1, "one handler, however often it is configured"


def test_what_stages_tell_is_in_the_log_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    with work("scoring"):
        say("part0: 3 of 10 records quarantined")
    with pytest.raises(InputError), work("reading"):
        raise InputError("no")
    told = [line["message"] for line in lines(capsys)]
    assert told == [
        "scoring ...",
        "part0: 3 of 10 records quarantined",
        "scoring: done",
        "reading ...",
        "reading: stopped",
    ]


def test_scoring_names_batch_and_version(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json")
    score(project)
    told = lines(capsys)
    assert {line["pipeline"] for line in told} == {"meters"}
    done = [line for line in told if line["message"] == "scored"]
    assert [(line["batch"], line["version"], line["read"]) for line in done] == [
        ("part0", 1, 1000),
        ("part1", 1, 1000),
        ("part2", 1, 1000),
    ]
    assert logs._scope.get() is None
    Workspace.open(project)
    assert logs._scope.get() is None


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flowguard.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=180,
        env={**os.environ, **environment},
    )


@pytest.mark.e2e
def test_a_command_logs_nothing_but_json_and_answers_on_standard_output(project: Path) -> None:
    done = command("--log", "json", "score", project, "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 3
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert all(set(logs.FIELDS) <= set(line) for line in told)
    assert {line["pipeline"] for line in told} == {"meters"}
    assert "queueing for review: done" in [line["message"] for line in told]
    words = command("score", project, FLOWGUARD_LOG="json")
    assert words.stdout.startswith("Nothing new to score.")
    # A mistake is one line, with what it was about.
    wrong = command("score", project, "--batch", "part9", FLOWGUARD_LOG="json")
    assert wrong.returncode == 2
    line = json.loads(wrong.stderr.splitlines()[-1])
    assert (line["level"], line["pipeline"]) == ("ERROR", "meters")
    assert "part9" in line["message"]


@pytest.mark.e2e
def test_a_setting_that_is_wrong_stops_no_doctor(project: Path) -> None:
    done = command("doctor", project, FLOWGUARD_LOG="yaml")
    assert done.returncode == 1
    assert "FLOWGUARD_LOG: found 'yaml'; expected one of 'text' or 'json'" in done.stdout
