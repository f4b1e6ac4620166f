"""The detectors of the detection benchmark: each is asked the right way round; flowguard's scores come of one fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from detection_peers import FAMILIES, SCORES, Method, installed, measure, methods, settings
from detection_tables import Figures, split

from tests.benchmarks.small_table import write_table


@pytest.mark.parametrize("method", [one for one in methods() if one.name != "flowguard"], ids=lambda one: one.name)
def test_every_peer_gives_far_out_rows_the_higher_scores(tmp_path: Path, method: Method) -> None:
    if not installed(method.library):
        pytest.skip(f"{method.library} is not installed")
    path = write_table(tmp_path / "1_a.npz", normal=200, odd=5)
    found = measure(method, path, seed=0, rows=1000)[method.name]
    assert isinstance(found, Figures)
    assert found.auroc > 0.99
    assert (found.trained, found.tested) == (100, 105)


@pytest.mark.filterwarnings("ignore:The table is too small")
def test_the_scores_of_one_fit_are_those_of_a_detector_that_is_fitted_for_one(tmp_path: Path) -> None:
    from sklearn.metrics import average_precision_score, roc_auc_score

    from flowguard import FlowDetector

    rng = np.random.default_rng(0)
    # Half zeros, so that the scores differ, and anomalies among the normal rows, so that they rank differently.
    x, y = rng.normal(size=(240, 2)), np.repeat([0, 1], [160, 80])
    x[y == 1] *= 2
    x[rng.random(240) < 0.5, 0] = 0
    np.savez(tmp_path / "1_a.npz", X=x, y=y)
    found = measure(methods(scores=True)[0], tmp_path / "1_a.npz", seed=3, rows=1000)
    dealt = split(tmp_path / "1_a.npz", rows=1000, seed=3)
    largest = FlowDetector(random_state=3, score_by="largest").fit(dealt.train)
    expected = {
        "flowguard largest": -largest.score_samples(dealt.test),
        "flowguard log_likelihood": -largest.log_likelihood(dealt.test),
    }
    for line, score in expected.items():
        one = found[line]
        assert isinstance(one, Figures)
        assert one.auroc == pytest.approx(roc_auc_score(dealt.label, score))
        assert one.average_precision == pytest.approx(average_precision_score(dealt.label, score))
    areas = {line: one.auroc for line, one in found.items() if isinstance(one, Figures)}
    # As it comes it has several experts, and its default is none of the other scores.
    assert len(set(areas.values())) > len(SCORES) / 2
    assert areas["flowguard"] not in {area for line, area in areas.items() if line != "flowguard"}


def test_scores_that_a_small_table_does_not_support_are_failures_and_the_default_is_none(tmp_path: Path) -> None:
    path = write_table(tmp_path / "1_a.npz", normal=16, odd=3)
    with pytest.warns(UserWarning, match="too small"):
        found = measure(methods(scores=True)[0], path, seed=0, rows=1000)
    assert isinstance(found["flowguard"], Figures)
    assert all("CalibrationError" in str(found[f"flowguard {score}"]) for score in SCORES[1:])


def test_what_a_result_of_flowguard_depends_on_is_its_source_and_not_the_scores_asked_for() -> None:
    (plain,), (scored,) = ([one for one in methods(scores=s) if one.name == "flowguard"] for s in (False, True))
    assert settings(plain) == settings(scored)
    assert settings(plain)["code"].startswith("flowguard ")
    assert scored.rows() == ["flowguard", *(f"flowguard {score}" for score in SCORES)]


def test_families_stand_beside_the_default_each_alone_and_are_told_apart_in_what_is_kept() -> None:
    alone = [one for one in methods(families=True) if one.name.startswith("flowguard ")]
    assert [one.name for one in alone] == [f"flowguard {name}" for name in FAMILIES]
    assert all(one.settings["model"]["kernel"] == 0 for one in alone)
    assert len({str(settings(one)) for one in alone}) == len(FAMILIES)


def test_a_family_is_fitted_alone(tmp_path: Path) -> None:
    path = write_table(tmp_path / "1_a.npz", normal=80, odd=3)
    (method,) = [one for one in methods(families=True) if one.name == "flowguard gaussian"]
    with pytest.warns(UserWarning, match="too small"):
        found = measure(method, path, seed=0, rows=1000)
    assert isinstance(found["flowguard gaussian"], Figures)
