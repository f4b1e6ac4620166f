"""The secret: one for all desks of a runs folder, for its owner alone."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flowguard.errors import FlowguardError, InputError
from flowguard.review.web.secret import VARIABLE, derived, secret_of


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with ThreadPoolExecutor(8) as pool:
        (secret,) = set(pool.map(secret_of, [runs] * 16))
    assert len(secret) >= 32
    (file,) = runs.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret_of(tmp_path / "others") != secret


def test_the_environment_has_the_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "x" * 40)
    assert secret_of(tmp_path / "runs") == "x" * 40
    assert not (tmp_path / "runs").exists()
    for short in ("", "x" * 31):
        monkeypatch.setenv(VARIABLE, short)
        with pytest.raises(InputError, match=f"The secret in {VARIABLE} has {len(short)} characters"):
            secret_of(tmp_path)


def test_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    secret_of(tmp_path)
    path = tmp_path / "review.secret"
    path.chmod(0o640)
    with pytest.raises(InputError, match="can be read by others"):
        secret_of(tmp_path)
    path.chmod(0o600)
    path.write_text("short\n")
    with pytest.raises(InputError, match="has 5 characters"):
        secret_of(tmp_path)


def test_one_that_can_be_neither_read_nor_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FlowguardError, match="neither read nor made"):
        secret_of(tmp_path / "file")
    os.mkdir(tmp_path / "review.secret")
    with pytest.raises(FlowguardError, match="neither read nor made"):
        secret_of(tmp_path)


def test_what_is_signed_for_one_purpose_means_nothing_for_another() -> None:
    assert derived("s", "sessions") == derived("s", "sessions")
    assert len({derived("s", "sessions"), derived("s", "tokens"), derived("t", "tokens"), "s"}) == 4
