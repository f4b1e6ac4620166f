"""Which pipelines a desk shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowguard.errors import InputError, PipelineError
from flowguard.review.web.desk import Desk, find
from tests.conftest import PIPELINE


def write(folder: Path, name: str, text: str = PIPELINE) -> Path:
    path = folder / "pipelines" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.replace("name: meters", f"name: {name}"))
    return path


def test_all_of_the_project_that_can_be_read_are_shown(tmp_path: Path) -> None:
    paths = {name: write(tmp_path, name) for name in ("meters", "pumps")}
    write(tmp_path, "wrong", "source: [")
    assert find([], tmp_path) == (paths, tmp_path, tmp_path / "runs")
    assert find([paths["pumps"]], tmp_path / "elsewhere")[0] == {"pumps": paths["pumps"]}
    with pytest.raises(PipelineError, match=r"wrong\.yaml"):
        find([tmp_path / "pipelines/wrong.yaml"], tmp_path)


def test_where_there_is_none_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="flowguard init"):
        find([], tmp_path)
    write(tmp_path, "wrong", "source: [")
    with pytest.raises(InputError, match=r"No pipeline file can be read:\n.*wrong.yaml"):
        find([], tmp_path)


def test_pipelines_that_cannot_be_told_apart_or_share_no_store_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = write(tmp_path / "a", "meters"), write(tmp_path / "b", "meters")
    with pytest.raises(InputError, match="both have the name 'meters'"):
        find([one, other], tmp_path)
    assert set(find([one, one], tmp_path)[0]) == {"meters"}
    third = write(tmp_path / "b", "pumps")
    with pytest.raises(InputError, match=r"write to several folders .* FLOWGUARD_STORE"):
        find([one, third], tmp_path)
    monkeypatch.setenv("FLOWGUARD_STORE", f"sqlite:///{tmp_path}/one.db")
    assert set(find([one, third], tmp_path)[0]) == {"meters", "pumps"}


def test_desks_of_one_machine_have_cookies_of_their_own(desk: Desk, tmp_path: Path) -> None:
    other = Desk(pipelines={}, root=tmp_path, runs=tmp_path / "others")
    assert desk.mark != other.mark
