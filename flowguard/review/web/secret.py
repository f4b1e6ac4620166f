"""The secret that signs sessions: from the environment, or made once and kept in a file for its owner alone."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from flowguard.errors import FlowguardError, InputError

VARIABLE = "FLOWGUARD_SECRET"
"""The environment variable with the secret, for desks that run on several machines or without a disk."""

_FILE = "review.secret"
_SHORTEST = 32


def secret_of(runs: Path) -> str:
    """The secret of the desks on this runs folder, made at the first call.

    Raises `InputError` for a secret that is short, or in a file that others can read, and `FlowguardError` when the
    file can be neither read nor made.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return _long_enough(given.strip(), VARIABLE)
    path = runs / _FILE
    try:
        if not path.exists():
            _make(path)
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FlowguardError(
            f"The secret {path} of the desk can be neither read nor made ({error}). Let this user write to its folder, "
            f"or set {VARIABLE}."
        ) from None
    if os.name == "posix" and mode & 0o077:
        raise InputError(
            f"The secret {path} can be read by others than its owner, who could sign in as anybody with it. Remove it: "
            "a new one is made, and everybody signs in again."
        )
    return _long_enough(text, str(path))


def derived(secret: str, purpose: str) -> str:
    """A secret for one purpose alone, so that what is signed for one means nothing for another."""
    return hmac.new(secret.encode(), f"flowguard {purpose}".encode(), hashlib.sha256).hexdigest()


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{_FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
        # A link, unlike a rename, replaces nothing: of two desks that start at once both take the first one's.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _long_enough(text: str, where: str) -> str:
    if len(text) < _SHORTEST:
        raise InputError(
            f"The secret in {where} has {len(text)} characters; at least {_SHORTEST} are needed, by chance: "
            '`python -c "import secrets; print(secrets.token_urlsafe(48))"` prints one.'
        )
    return text
