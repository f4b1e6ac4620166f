"""The services of docker/compose.yaml, started on this machine: its commands and settings, without its containers.

What differs is what containers bring: names of machines become ports of this one, /project and /opt folders of a test.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from ruamel.yaml import YAML

from tests.e2e.conftest import ROOT
from tests.e2e.process import Running, plain_environment, running, wait_until
from tests.e2e.web import answers, free_port

FILE = ROOT / "docker" / "compose.yaml"
BIN = Path(sys.executable).parent
SECRETS = {
    "POSTGRES_PASSWORD": "postgres-of-a-test",
    "S3_ACCESS_KEY": "flowguard",
    "S3_SECRET_KEY": "s3-of-a-test",
    "PREFECT_AUTH": "admin:prefect-of-a-test",
    "FLOWGUARD_SEED_DEMO": "no",
}
PASSWORD = "desk-password-of-a-test"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
#: What a service listens on within its container.
PORTS = {"postgres": 5432, "s3": 8333, "mlflow": 5000, "prefect": 4200, "review": 8765, "metrics": 9464}


def read() -> dict[str, Any]:
    """The file, with its anchors resolved and its variables as they are written."""
    document: dict[str, Any] = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
    return document


@dataclass
class Site:
    """A set-up under way: where each service listens, and the processes that run."""

    folder: Path
    base: Path  # of PostgreSQL
    stack: ExitStack
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    services: dict[str, Running] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        """What containers call /project."""
        return self.folder / "project"

    def url(self, service: str) -> str:
        """Where a service is reached from here."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def command(self, service: str) -> list[str]:
        """What the container of a service runs, with this machine's paths and ports."""
        words = [self._here(str(word), service) for word in read()["services"][service]["command"]]
        program = BIN / words[0]
        return [str(program) if program.exists() else words[0], *words[1:]]

    def environment(self, service: str) -> dict[str, str]:
        """The settings that the container of a service has, and what every process on this machine needs."""
        given = read()["services"][service].get("environment", {})
        images = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "PREFECT_HOME": str(self.folder / "home" / f"prefect-{service}"),
            "OMP_NUM_THREADS": "1",
        }
        mine = {name: self._here(str(value), service) for name, value in given.items()}
        return plain_environment(**images, **mine)

    def start(self, service: str, *, seconds: float = 120) -> Running:
        """Start a service and wait until it is well, as its health check would."""
        begin = {"postgres": self._postgres, "s3": self._s3}.get(service)
        if begin is not None:
            process = begin()
        else:
            process = self._run(self.command(service), service)
        self.services[service] = process
        well = {
            "postgres": self._asks_postgres,
            "s3": lambda: answers(f"{self.url('s3')}/healthz"),
            "mlflow": lambda: answers(f"{self.url('mlflow')}/health"),
            "prefect": lambda: answers(f"{self.url('prefect')}/api/health"),
            "review": lambda: answers(f"{self.url('review')}/login"),
            "metrics": lambda: answers(f"{self.url('metrics')}/metrics"),
        }.get(service)
        if well is not None:
            wait_until(well, seconds, f"{service} is well", by=process, every=0.3)
        return process

    def stop(self, service: str) -> None:
        """Stop a service as `docker compose stop` does."""
        process = self.services.pop(service)
        if service == "postgres":  # the image's stop signal: clients are sent away, not waited for
            process.process.send_signal(signal.SIGINT)
            process.process.wait(60)
        else:
            process.stop(60)
        process.kill()

    def once(self, service: str, *, seconds: float = 300) -> str:
        """Run a service that does something and ends; what it printed. Fails when it fails."""
        return self.run(self.command(service), service, seconds=seconds)

    def run(self, command: list[str], service: str, *, seconds: float = 300) -> str:
        """Run a command with the settings of a service, in /project; what it printed. Fails when it fails."""
        done = subprocess.run(
            command,
            cwd=self.project,
            env=self.environment(service),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout + done.stderr

    def _run(self, command: list[str], service: str) -> Running:
        log = self.folder / f"{service}.txt"
        return self.stack.enter_context(
            running(command, cwd=self.project, environment=self.environment(service), log=log)
        )

    def _here(self, text: str, service: str) -> str:
        """A word of the file on this machine."""
        text = _VARIABLE.sub(lambda found: SECRETS.get(found[1], found[3] if found[2] == "-" else ""), text)
        for name, port in PORTS.items():
            here = f"127.0.0.1:{self.ports[name]}"
            for host in (name, "localhost", "127.0.0.1"):
                text = re.sub(rf"(?<![\w.]){re.escape(host)}:{port}(?!\d)", here, text)
        own = PORTS.get(service)
        if own is not None and (found := re.fullmatch(rf"(-+[\w.]*port=){own}", text)):
            text = f"{found[1]}{self.ports[service]}"
        places = {
            "/opt/": f"{ROOT}/docker/",
            "/run/secrets/admin": str(self.folder / "admin.password"),
            "/project": str(self.project),
        }
        for there, place in places.items():
            if text.startswith(there):
                text = place + text.removeprefix(there)
        return text

    def _postgres(self) -> Running:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        assert found, "these tests need PostgreSQL: `apt-get install postgresql`, as .ci/run does"
        binaries, settings = found[-1].parent, self.environment("postgres")
        # PostgreSQL refuses to run as root; its user cannot look into the test's folder.
        become = [] if os.geteuid() else ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        folder = self.base
        if not (folder / "data").exists():
            (folder / "password").write_text(settings["POSTGRES_PASSWORD"])
            if become:
                for path in (folder, folder / "password"):
                    shutil.chown(path, "postgres", "postgres")
            options = [
                f"--username={settings['POSTGRES_USER']}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ]
            make = [*become, binaries / "initdb", "-D", folder / "data", "--pwfile", folder / "password", *options]
            made = subprocess.run(make, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
            assert made.returncode == 0, made.stdout + made.stderr
        serve = ["postgres", "-D", str(folder / "data"), "-p", str(self.ports["postgres"]), "-k", str(folder)]
        command = [*become, str(binaries / serve[0]), *serve[1:], "-h", "127.0.0.1", "-c", "max_connections=200"]
        process = self.stack.enter_context(
            running(command, cwd=folder, environment=plain_environment(), log=self.folder / "postgres.txt")
        )
        wait_until(lambda: self._asks_postgres("postgres"), 60, "PostgreSQL", by=process, every=0.2)
        with self.connected("postgres") as connection:
            known = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
            if settings["POSTGRES_DB"] not in known:  # what the image does at its first start
                connection.execute(f"CREATE DATABASE {settings['POSTGRES_DB']}".encode())
                for statement in (ROOT / "docker" / "init.sql").read_text(encoding="utf-8").split(";"):
                    if "CREATE" in statement:
                        connection.execute(statement.encode())
        return process

    def connected(self, base: str) -> psycopg.Connection[Any]:
        """A connection to a database of PostgreSQL."""
        address = f"postgresql://flowguard:{SECRETS['POSTGRES_PASSWORD']}@127.0.0.1:{self.ports['postgres']}/{base}"
        return psycopg.connect(address, autocommit=True, connect_timeout=3)

    def _asks_postgres(self, base: str = "flowguard") -> bool:
        try:
            self.connected(base).close()
        except psycopg.OperationalError:
            return False
        return True

    def _s3(self) -> Running:
        data = self.folder / "s3"
        data.mkdir(exist_ok=True)
        words = [word.replace("-dir=/data", f"-dir={data}") for word in self.command("s3")]
        # A container has its ports to itself; here every one of them must be free.
        apart = [f"-{part}.port={free_port()}" for part in ("master", "volume", "filer")]
        apart += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        apart += [f"-{part}.port.grpc={free_port()}" for part in ("master", "volume", "filer", "s3")]
        return self._run([str(BIN / "weed"), *words, "-ip=127.0.0.1", *apart], "s3")


@contextmanager
def site(folder: Path, pipelines: Mapping[str, str]) -> Iterator[Site]:
    """A set-up in which nothing runs yet; its project has the checkout's flows and these pipeline files."""
    project = folder / "project"
    (project / "pipelines").mkdir(parents=True)
    (folder / "home").mkdir()
    shutil.copytree(ROOT / "flows", project / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in pipelines.items():
        (project / "pipelines" / name).write_text(text, encoding="utf-8")
    (folder / "admin.password").write_text(f"{PASSWORD}\n")
    base = Path(tempfile.mkdtemp(prefix="flowguard-postgres-"))
    try:
        with ExitStack() as stack:
            yield Site(folder, base, stack)
    finally:
        shutil.rmtree(base, ignore_errors=True)
