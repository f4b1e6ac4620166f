"""Imports go downward only, and the libraries that load slowly stay in their one room."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each room with the rooms it may import from (besides itself, what `EVERYWHERE` names and the package root).
EVERYWHERE = ("errors", "logs", "settings", "__version__")
GROUND: set[str] = set()
ENCODING = {"tables"}
TRAINING = {"density"}
EXPLAIN = {"density", "encoding"}
DETECTOR = {"spec", "tables", "density", "calibration", "encoding", "training", "explain"}
STORE = DETECTOR | {"detector"}
WORLD = STORE | {"store"}
STAGES = WORLD | {"registry", "reports", "review", "notify"}
DOORS = STAGES | {"stages"}
ALLOWED = {
    "errors": GROUND,
    "settings": GROUND,
    "logs": GROUND,
    "spec": GROUND,
    "tables": GROUND,
    "density": GROUND,
    "calibration": GROUND,
    "encoding": ENCODING,
    "training": TRAINING,
    "explain": EXPLAIN,
    "detector": DETECTOR,
    "store": STORE,
    "registry": WORLD,
    "reports": WORLD,
    "review": WORLD,
    "notify": WORLD,
    "stages": STAGES,
    "cli": DOORS | {"review/web"},  # one of its commands opens the desk
    "flows": DOORS,
    "review/web": DOORS,
}
ONLY_IN = {
    "prefect": {"flows"},
    "pydantic_settings": {"settings"},
    "pythonjsonlogger": {"logs"},
    "mlflow": {"registry"},
    "prometheus_client": {"stages"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "psycopg": {"store"},
    "typer": {"cli"},
    "duckdb": {"tables"},
    "fastapi": {"review/web"},
    "starlette": {"review/web"},
    "uvicorn": {"review/web"},
    "asgi_csrf": {"review/web"},
    "argon2": {"review"},
    "apprise": {"notify"},
}


def modules() -> list[tuple[str, Path]]:
    package = [(room_of(*p.relative_to(ROOT / "flowguard").parts), p) for p in (ROOT / "flowguard").rglob("*.py")]
    return [(room, p) for room, p in package if room != "__init__"] + [
        ("flows", p) for p in (ROOT / "flows").glob("*.py")
    ]


def room_of(first: str, *rest: str) -> str:
    """The desk is a room of its own within `review`: a door, not a part of what it opens on."""
    return "review/web" if first == "review" and rest[:1] == ("web",) else first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports name their module in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_room_is_on_the_map() -> None:
    assert {room for room, _ in modules()} <= set(ALLOWED)
    assert len(modules()) > 20


def test_imports_go_downward_only() -> None:
    wrong = []
    for room, path in modules():
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "flows" and room != "flows":
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            if parts[0] != "flowguard" or len(parts) < 2 or parts[1] in EVERYWHERE:
                continue
            if room_of(*parts[1:]) not in ALLOWED[room] | {room}:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_each_slow_library_is_imported_in_one_room_alone() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for room, path in modules()
        for name in imported(path)
        if (top := name.split(".")[0]) in ONLY_IN and room not in ONLY_IN[top]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("flowguard", ["torch", "mlflow", "prefect", "pandas", "duckdb", "typer", "sqlalchemy", "apprise"]),
        ("flowguard.spec", ["torch", "mlflow", "prefect", "duckdb"]),
        ("flowguard.calibration", ["torch", "mlflow", "prefect"]),
        ("flowguard.detector", ["mlflow", "prefect", "typer", "apprise"]),
        ("flowguard.cli.main", ["torch", "mlflow", "prefect", "pandas", "duckdb", "sqlalchemy", "fastapi", "apprise"]),
        ("flowguard.store", ["torch", "mlflow", "prefect", "pandas", "alembic"]),
        ("flowguard.notify", ["torch", "mlflow", "prefect", "pandas", "alembic", "typer"]),
        ("flowguard.review", ["torch", "mlflow", "prefect", "pandas", "alembic", "fastapi"]),
        ("flowguard.review.access", ["torch", "argon2", "fastapi"]),
    ],
)
def test_importing_loads_nothing_it_does_not_need(module: str, absent: list[str]) -> None:
    code = f"import sys, {module}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
