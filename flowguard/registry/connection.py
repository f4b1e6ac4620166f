"""Reaching MLflow: its environment, whether it answers, and its failures in words."""

from __future__ import annotations

import logging
import os
import re
import socket
import sqlite3
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flowguard.errors import FlowguardError, RegistryError
from flowguard.settings import masked

PROBE_SECONDS = 4.0

# Set before MLflow is imported, and only where the user has not decided otherwise.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Standard output belongs to the command's own answer, which may be JSON.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A uv.lock in the current folder would replace the requirements that the version states.
    "MLFLOW_UV_AUTO_DETECT": "false",
    # MLflow's 7 retries take four minutes; 3 take about 14 seconds when a server goes away in mid-work.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "GIT_PYTHON_REFRESH": "quiet",
}
_DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_KEYS = "Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the profile in AWS_PROFILE)"
_S3 = {
    "InvalidAccessKeyId": f"it does not know this access key. {_KEYS}.",
    "SignatureDoesNotMatch": f"the secret does not go with this access key. {_KEYS}.",
    "Unable to locate credentials": "there are no credentials. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "AWS_PROFILE.",
    "ExpiredToken": "the session has expired. Log in again, and set AWS_SESSION_TOKEN anew.",
    "RequestTimeTooSkewed": "this machine's clock is wrong. Set it by a time server.",
    "AccessDenied": f"this user may not do that in this bucket. {_KEYS}, or give that user the right to list, read, "
    "write and delete objects there.",
    "NoSuchBucket": "there is no such bucket. Create it, or correct the address of the artifacts.",
    "Could not connect to the endpoint": "nothing answers there. Correct MLFLOW_S3_ENDPOINT_URL or AWS_ENDPOINT_URL, "
    "or start the object store.",
}
# Failures that come from outside are told in words; a mistake in flowguard itself keeps its traceback.
_OUTSIDE = (
    "mlflow",
    "sqlalchemy",
    "sqlite3",
    "alembic",
    "requests",
    "urllib3",
    "botocore",
    "boto3",
    "google",
    "azure",
)


def import_mlflow() -> Any:
    """MLflow, imported late (2 s) and quietly: no telemetry, no chatter."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    # Without this MLflow prints a traceback of its own beside the error that flowguard explains.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return mlflow


def connect(tracking_uri: str, registry_uri: str) -> Any:
    """An `MlflowClient` for these addresses, after checking that somebody answers there.

    MLflow alone retries an absent server for minutes and a damaged database for 100 seconds. Raises
    `FlowguardError` when nothing answers within seconds, `RegistryError` when the address cannot hold a
    registry.
    """
    for uri in dict.fromkeys((tracking_uri, registry_uri)):
        probe(uri)
    mlflow = import_mlflow()
    with told(tracking_uri, "opened"):
        return mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=registry_uri)


def probe(uri: str) -> None:
    """Raise unless the registry at `uri` can be reached."""
    scheme = uri.split(":", 1)[0].split("+", 1)[0].lower()
    if scheme == "sqlite":
        _probe_sqlite(uri)
    elif scheme in ("http", "https"):
        _probe_http(uri)
    elif scheme in _DATABASE_PORTS:
        _probe_port(uri, _DATABASE_PORTS[scheme])
    elif scheme == "file" or ("://" not in uri and not uri.startswith("databricks")):
        raise RegistryError(
            f"The registry address {uri!r} is a folder, which MLflow no longer supports as a registry. Set "
            "MLFLOW_TRACKING_URI to a database (sqlite:////absolute/path/mlflow.db) or to a server (http://host:port)."
        )


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite address, or None for any other address.

    >>> sqlite_path("sqlite:////data/mlflow.db")
    PosixPath('/data/mlflow.db')
    """
    match = re.match(r"sqlite(\+\w+)?:///(?P<path>[^?]+)", uri)
    return Path(match["path"]) if match else None


def shown(uri: str) -> str:
    """`uri` without a password or key in it.

    >>> shown("postgresql://me:secret@db/mlflow")
    'postgresql://me:***@db/mlflow'
    """
    return masked(uri)


@contextmanager
def told(uri: str, doing: str) -> Iterator[None]:
    """Turn what MLflow, its database or its artifact store raise into a `FlowguardError` with a remedy."""
    try:
        yield
    except FlowguardError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in _OUTSIDE:
            raise
        raise _explained(error, uri, doing) from None


def _explained(error: Exception, uri: str, doing: str) -> FlowguardError:
    found = shown(" ".join(str(error).split()))
    # SQLAlchemy appends the statement and a link to its own manual.
    found = re.split(r" \[SQL:| \(Background on this error", found)[0][:600]
    where = f"The MLflow registry {shown(uri)} could not be {doing}"
    if "database is locked" in found:
        return FlowguardError(
            f"{where}: its database is locked by another process. Wait until it has finished and run "
            "the command again; for several writers at once use an MLflow server (set MLFLOW_TRACKING_URI)."
        )
    if "mlflow db upgrade" in found:
        return FlowguardError(
            f"{where}: its database was made by another MLflow version. Take a copy of it, then run "
            f"`mlflow db upgrade {shown(uri)}`. MLflow said: {found}"
        )
    for code, meaning in _S3.items():
        if code in found:
            return FlowguardError(f"{where}: the object store says {code}: {meaning}")
    if re.search(r"max retries exceeded|connection refused|failed to establish|timed out", found, re.IGNORECASE):
        return FlowguardError(
            f"{where}: the server does not answer. Check that it runs and that MLFLOW_TRACKING_URI is right, "
            "then run the command again."
        )
    if re.search(r"error code 40[13]|PERMISSION_DENIED|UNAUTHENTICATED", found):
        return FlowguardError(
            f"{where}: the server refused these credentials. Set MLFLOW_TRACKING_USERNAME and "
            f"MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN. Found: {found}"
        )
    return FlowguardError(
        f"{where}: {found or type(error).__name__}. Check that the address is right and its files can be "
        "read and written, then run the command again."
    )


def _probe_sqlite(uri: str) -> None:
    path = sqlite_path(uri)
    if path is None or str(path) == ":memory:":
        return
    if path.is_dir():
        raise RegistryError(f"The registry database {path} is a folder. Name a file: sqlite:///{path}/mlflow.db")
    if not path.exists() or path.stat().st_size == 0:
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            raise RegistryError(
                f"The registry database {path} cannot be created: {above} is not a folder that can be "
                "written to. Choose another output folder, or set MLFLOW_TRACKING_URI."
            )
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PROBE_SECONDS)) as base:
            base.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise _explained(error, uri, "opened") from None
        raise FlowguardError(
            f"The registry database {path} cannot be read: {error}. Restore it from a backup, or move it "
            "away and train again: a new one is created."
        ) from None


def _probe_http(uri: str) -> None:
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=PROBE_SECONDS):
            pass
    except urllib.error.HTTPError:
        pass  # Somebody answers: whether MLflow does is for its own requests to find out.
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            return  # MLflow has settings of its own for certificates, such as MLFLOW_TRACKING_INSECURE_TLS.
        raise FlowguardError(
            f"The MLflow server {shown(uri)} does not answer ({reason}). Check that it runs and that "
            "MLFLOW_TRACKING_URI is right; unset MLFLOW_TRACKING_URI to use a registry in the output folder."
        ) from None


def _probe_port(uri: str, default: int) -> None:
    address = urlsplit(uri)
    if not address.hostname:
        return  # a Unix socket
    try:
        socket.create_connection((address.hostname, address.port or default), timeout=PROBE_SECONDS).close()
    except (OSError, ValueError) as error:
        raise FlowguardError(
            f"The registry database {shown(uri)} does not answer ({error}). Check that it runs and that "
            "MLFLOW_TRACKING_URI is right."
        ) from None
