"""Who may do what at the desk, and how passwords are kept: as Argon2id hashes, never as they are."""

from __future__ import annotations

import hashlib
import hmac
import threading
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from flowguard.errors import FlowguardError, InputError
from flowguard.store import ROLES, Role

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MAY: dict[Role, str] = {
    "viewer": "look at everything and export it",
    "reviewer": "also decide on records and cases, and make or revoke suppression rules",
    "admin": "also promote versions",
}
"""What each role may do, in words; each may do what the one before it may."""

SHORTEST, LONGEST = 12, 1000
"""Characters of a password: short ones are guessed, and to hash longer ones gains nothing."""

# A hash takes 64 MiB on purpose: whoever asks for many at once must not take the machine's memory.
_AT_ONCE = threading.BoundedSemaphore(2)
_NOBODY = "no password of anybody"


@dataclass(frozen=True)
class Checked:
    """Whether a password was right; `rehashed` is its new hash where the old one is of weaker parameters."""

    right: bool
    rehashed: str | None = None


def allows(role: Role, needed: Role) -> bool:
    """Whether `role` may do what `needed` may.

    >>> allows("admin", "reviewer"), allows("viewer", "reviewer")
    (True, False)
    """
    return ROLES.index(role) >= ROLES.index(needed)


def hashed(name: str, password: str) -> str:
    """The hash of a new password, with Argon2id and the parameters of RFC 9106 for little memory.

    Raises `InputError` for a password that is too short, too long or the user's own name.
    """
    plain = _plain(password)
    if len(plain) < SHORTEST:
        raise InputError(
            f"The password has {len(plain)} character{'' if len(plain) == 1 else 's'}; at least {SHORTEST} are "
            "needed. A few words that only you would put together are easy to remember and hard to guess."
        )
    if len(plain) > LONGEST:
        raise InputError(f"The password has {len(plain):,} characters; at most {LONGEST:,} are taken.")
    if plain.casefold() == _plain(name).casefold():
        raise InputError("The password is the user's name, which is the first that anybody tries. Choose another.")
    with _AT_ONCE:
        return _hasher().hash(plain)


def check(password: str, known: str | None) -> Checked:
    """Whether `password` is the one of the hash `known`; None or an empty hash is a user without password.

    Law: who does not exist takes as long to refuse as who does, so that time tells no names.
    """
    from argon2.exceptions import InvalidHashError, VerificationError

    plain = _plain(password)
    if len(plain) > LONGEST:
        return Checked(right=False)
    with _AT_ONCE:
        dummy = _dummy()  # made at the first check, whoever that is of
        try:
            _hasher().verify(known or dummy, plain)
        except (VerificationError, InvalidHashError):
            return Checked(right=False)
        if not known:
            return Checked(right=False)
        return Checked(right=True, rehashed=_hasher().hash(plain) if _hasher().check_needs_rehash(known) else None)


def fingerprint(password_hash: str, secret: str) -> str:
    """What a session carries of the password it began with: tells nothing of the hash, differs when that changes."""
    return hmac.new(secret.encode(), password_hash.encode(), hashlib.sha256).hexdigest()[:32]


def _plain(text: str) -> str:
    # One password, however a keyboard composes its letters; half a pair of surrogates cannot be encoded.
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))


@cache
def _hasher() -> PasswordHasher:
    try:
        from argon2 import PasswordHasher
    except ModuleNotFoundError:
        raise FlowguardError(
            "Passwords are hashed by argon2-cffi, which is not installed. Run `pip install 'flowguard[review]'`."
        ) from None
    return PasswordHasher()


@cache
def _dummy() -> str:
    return _hasher().hash(_NOBODY)
