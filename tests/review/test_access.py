"""Roles and passwords: what each role may do, and hashes that tell nothing."""

from __future__ import annotations

import unicodedata

import pytest
from argon2 import PasswordHasher

from flowguard.errors import InputError
from flowguard.review import access
from flowguard.store import ROLES

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def known() -> str:
    return access.hashed("ada", PASSWORD)


def test_each_role_may_what_the_one_before_may() -> None:
    assert tuple(access.MAY) == ROLES
    for place, role in enumerate(ROLES):
        assert [access.allows(role, needed) for needed in ROLES] == [step <= place for step in range(len(ROLES))]


def test_a_password_is_known_by_its_hash_alone(known: str) -> None:
    assert known.startswith("$argon2id$")
    assert PASSWORD not in known
    assert access.check(PASSWORD, known) == access.Checked(right=True)
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), PASSWORD + "x" * 5_000, "\udcff"):
        assert access.check(wrong, known) == access.Checked(right=False)


@pytest.mark.parametrize("kept", [None, "", "no hash at all"])
def test_who_has_no_password_is_never_right(kept: str | None) -> None:
    assert access.check(access._NOBODY, kept) == access.Checked(right=False)


def test_a_name_that_nobody_has_takes_a_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    real = PasswordHasher.verify

    def counted(self: PasswordHasher, *args: str) -> object:
        tried.append(args)
        return real(self, *args)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    access.check("whatever it is", None)
    assert len(tried) == 1


def test_a_hash_of_weaker_parameters_is_renewed(known: str) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    found = access.check(PASSWORD, weak)
    assert found.right
    assert found.rehashed is not None
    assert found.rehashed.split("$")[:4] == known.split("$")[:4]
    assert access.check(PASSWORD, found.rehashed) == access.Checked(right=True)


def test_letters_are_the_same_however_they_are_composed() -> None:
    word = "Überraschungsei"
    kept = access.hashed("ada", unicodedata.normalize("NFD", word))
    assert access.check(unicodedata.normalize("NFC", word), kept).right


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [
        ("ada", "", "has 0 characters"),
        ("ada", "x", "has 1 character;"),
        ("ada", "eleven char", "at least 12"),
        ("ada", "x" * 1_001, "at most 1,000"),
        ("ada.lovelace", "Ada.Lovelace", "the user's name"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(name: str, password: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        access.hashed(name, password)


def test_a_fingerprint_is_of_one_hash_under_one_secret(known: str) -> None:
    mark = access.fingerprint(known, "secret")
    assert mark == access.fingerprint(known, "secret")
    assert len({mark, access.fingerprint(known + "x", "secret"), access.fingerprint(known, "secrets")}) == 3
    assert mark not in known
