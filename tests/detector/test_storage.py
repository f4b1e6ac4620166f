"""A detector on disk: the same bits back, and a clear word when what is sealed is not what is expected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flowguard.calibration import FalseAlarmRate
from flowguard.detector import Detector, bundle, calibrate, hold, load, save
from flowguard.errors import BundleError
from tests.detector.sample import SMALL, calibrated, fitted, table

REALNVP = {"family": "realnvp", "layers": 2, "hidden": [16]}


@pytest.fixture(scope="module")
def plain() -> Detector:
    return fitted(table(800, 1), epochs=1)


def bits(detector: Detector) -> bytes:
    scores = detector.score(table(300, 4))
    return b"".join(getattr(scores, name).tobytes() for name in ("log_likelihood", "log_mass", "score", "p_value"))


@pytest.mark.parametrize("score", ["default", "log_likelihood", "largest"])
def test_a_detector_comes_back_with_the_same_bits(plain: Detector, score: str, tmp_path: Path) -> None:
    detector = calibrated(plain, table(900, 2), score=score)  # type: ignore[arg-type]
    digest = save(detector, tmp_path / "bundle")
    again = load(tmp_path / "bundle")
    assert bits(again) == bits(detector)
    assert again.digest == digest == save(again, tmp_path / "copy")
    assert (again.columns, again.key, again.units) == (detector.columns, detector.key, detector.units)
    assert (again.score_name, again.policy, again.engine) == (
        detector.score_name,
        detector.policy,
        detector.engine,
    )
    assert again.input_schema() == detector.input_schema()


def test_a_family_without_exact_terms_keeps_its_calibration(tmp_path: Path) -> None:
    detector = calibrated(fitted(table(800, 1), architecture=REALNVP, epochs=1), table(900, 2))
    assert detector.baseline is None
    save(detector, tmp_path / "bundle")
    again = load(tmp_path / "bundle")
    assert bits(again) == bits(detector)
    assert not again.has_terms
    assert again.usual.to_state()[0] == detector.usual.to_state()[0]


def test_a_draft_without_calibration_can_be_kept_and_calibrated_later(plain: Detector, tmp_path: Path) -> None:
    save(plain, tmp_path / "draft")
    again = load(tmp_path / "draft")
    assert again.calibration is None
    held = hold(again, [(table(900, 2), np.arange(900))])
    assert bits(calibrate(again, held, policy=FalseAlarmRate(0.01))) == bits(calibrated(plain, table(900, 2)))


def test_the_manifest_names_the_engine_that_the_bits_are_promised_for(plain: Detector, tmp_path: Path) -> None:
    save(plain, tmp_path / "bundle")
    engine = json.loads((tmp_path / "bundle" / bundle.MANIFEST).read_text())["engine"]
    assert {"tile", "threads", "dtype", "device", "machine", "instructions", "versions"} == set(engine)
    assert engine["versions"]["torch"]


def test_no_file_of_a_bundle_holds_code(plain: Detector, tmp_path: Path) -> None:
    save(calibrated(plain, table(900, 2)), tmp_path / "bundle")
    suffixes = {path.suffix for path in (tmp_path / "bundle").iterdir()}
    assert suffixes == {".json", ".safetensors", ".sha256"}


@pytest.mark.parametrize("lost", ["encoder", "density", "schema"])
def test_a_bundle_that_lacks_a_part_says_what_to_do(plain: Detector, lost: str, tmp_path: Path) -> None:
    save(plain, tmp_path / "whole")
    manifest, documents, arrays, _ = bundle.unseal(tmp_path / "whole")
    del documents[lost]
    bundle.seal(
        tmp_path / "part", documents=documents, arrays=arrays, facts={"engine": manifest["engine"], "flowguard": "9"}
    )
    with pytest.raises(BundleError, match="install that release"):
        load(tmp_path / "part")


def test_weights_of_another_shape_are_refused(plain: Detector, tmp_path: Path) -> None:
    save(plain, tmp_path / "whole")
    manifest, documents, arrays, _ = bundle.unseal(tmp_path / "whole")
    documents["density"] = {**documents["density"], "hidden": [8]}
    assert SMALL["hidden"] != [8]
    bundle.seal(
        tmp_path / "odd", documents=documents, arrays=arrays, facts={"engine": manifest["engine"], "flowguard": "9"}
    )
    with pytest.raises(BundleError, match="does not hold what"):
        load(tmp_path / "odd")
