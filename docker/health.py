"""Whether a service of this container is well: `health.py URL` asks it, `health.py worker` looks for a worker."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path


def answers(url: str) -> bool:
    """Whether a web server answers, be it that one must log in."""
    try:
        with urllib.request.urlopen(url, timeout=4) as reply:
            return reply.status < 500
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def works() -> bool:
    """Whether a worker of Prefect lives here; that it is in touch with its server, the server itself tells."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it ended in the meantime
        if "worker" in words and "start" in words:
            return True
    return False


if __name__ == "__main__":
    (what,) = sys.argv[1:]
    sys.exit(0 if (works() if what == "worker" else answers(what)) else 1)
