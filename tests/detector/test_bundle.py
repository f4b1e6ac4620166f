"""The sealed folder: same content, same bytes; a changed byte anywhere is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flowguard.detector import bundle
from flowguard.errors import BundleError

DOCUMENTS = {"encoder": {"b": 2.5, "a": [1, None, "ü"]}, "schema": {}}
ARRAYS = {"weights": {"w": np.arange(6.0).reshape(2, 3), "n": np.array([1, 2])}}


def sealed(folder: Path) -> str:
    return bundle.seal(folder, documents=DOCUMENTS, arrays=ARRAYS, facts={"flowguard": "1"})


def test_what_was_sealed_comes_back(tmp_path: Path) -> None:
    digest = sealed(tmp_path / "b")
    manifest, documents, arrays, identity = bundle.unseal(tmp_path / "b")
    assert (documents, identity, manifest["flowguard"]) == (DOCUMENTS, digest, "1")
    assert np.array_equal(arrays["weights"]["w"], ARRAYS["weights"]["w"])


def test_the_same_content_has_the_same_bytes(tmp_path: Path) -> None:
    assert sealed(tmp_path / "a") == sealed(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_flipped_byte_in_any_file_is_refused(tmp_path: Path) -> None:
    sealed(tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert len(names) == 5
    for name in names:
        path = tmp_path / "b" / name
        whole = path.read_bytes()
        for place in (0, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(BundleError):
                bundle.unseal(tmp_path / "b")
        path.write_bytes(whole)
    bundle.unseal(tmp_path / "b")


def test_a_missing_and_an_added_file_are_refused(tmp_path: Path) -> None:
    sealed(tmp_path / "b")
    (tmp_path / "b" / "more.json").write_text("{}")
    with pytest.raises(BundleError, match=r"more\.json"):
        bundle.unseal(tmp_path / "b")
    (tmp_path / "b" / "more.json").unlink()
    (tmp_path / "b" / "encoder.json").unlink()
    with pytest.raises(BundleError, match=r"encoder\.json"):
        bundle.unseal(tmp_path / "b")


def test_a_folder_that_is_no_bundle_is_neither_loaded_nor_overwritten(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="not a flowguard bundle"):
        bundle.unseal(tmp_path)
    with pytest.raises(BundleError, match="not a bundle"):
        sealed(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_bundle_of_a_later_format_says_what_to_do(tmp_path: Path) -> None:
    bundle.seal(tmp_path / "b", documents={}, arrays={}, facts={})
    manifest = json.loads((tmp_path / "b" / bundle.MANIFEST).read_text())
    manifest["format"] = 99
    text = json.dumps(manifest).encode()
    (tmp_path / "b" / bundle.MANIFEST).write_bytes(text)
    import hashlib

    (tmp_path / "b" / bundle.SEAL).write_text(hashlib.sha256(text).hexdigest())
    with pytest.raises(BundleError, match="format 99"):
        bundle.unseal(tmp_path / "b")


def test_nothing_is_left_when_sealing_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        bundle.seal(tmp_path / "b", documents={"x": {"p": float("nan")}}, arrays={}, facts={})
    assert list(tmp_path.iterdir()) == []
