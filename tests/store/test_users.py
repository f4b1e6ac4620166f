"""Users: added, replaced, removed; names that nobody mixes up."""

from __future__ import annotations

import pytest

from flowguard.errors import InputError
from flowguard.store import Store
from tests.store import laws


def test_users_are_kept_and_removed(url: str) -> None:
    laws.users_are_kept_and_removed(url)


def test_names_that_differ_in_capitals_alone_are_refused(store: Store) -> None:
    store.users.put("ada", "viewer", "hash", by="root")
    with pytest.raises(InputError, match="'Ada' differs from the user 'ada' in capitals alone"):
        store.users.put("Ada", "admin", "hash", by="root")
    assert [user.name for user in store.users.all()] == ["ada"]


@pytest.mark.parametrize("name", ["", " ", " ada", "ada ", "a\nb", "a\0b", "a\u202eb", "x" * 201])
def test_a_name_that_cannot_be_read_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InputError, match="does not serve"):
        store.users.put(name, "viewer", "hash", by="root")
    assert store.users.all() == []


def test_a_role_that_is_none_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="one of viewer, reviewer, admin"):
        store.users.put("ada", "root", "hash", by="root")  # type: ignore[arg-type]
