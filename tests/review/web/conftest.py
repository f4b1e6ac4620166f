"""A desk with two pages of its own, on a real store; its users, and browsers that look at it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import APIRouter, Depends, Form, Request
from fastapi.testclient import TestClient
from starlette.responses import Response

from flowguard.errors import InputError, OvertakenError, StoreError
from flowguard.review.access import hashed
from flowguard.review.web.app import create_app
from flowguard.review.web.desk import Desk
from flowguard.review.web.page import file_of, page
from flowguard.review.web.who import User, current, need
from flowguard.store import ROLES

PASSWORD = "correct horse battery"
BASE = "http://127.0.0.1:8765"
ADMIN = need("admin")

Browse = Callable[..., TestClient]


def router() -> APIRouter:
    """Pages whose authors forgot to ask who comes, and some that did not."""
    made = APIRouter()

    @made.get("/queue")
    def look(request: Request, user: User = Depends(current)) -> Response:
        return page(request, "said.html", words=f"{user.name} as {user.role}", fault=False)

    @made.get("/forgotten")
    def forgotten(request: Request) -> Response:
        return page(request, "fault.html", title="Queue", words=request.query_params.get("words", ""))

    @made.post("/decide")
    def decide(request: Request, what: str = Form()) -> Response:
        return page(request, "said.html", words=what, fault=False)

    @made.post("/promote")
    def promote(request: Request, user: User = Depends(ADMIN)) -> Response:
        return page(request, "said.html", words=f"{user.name} promoted", fault=False)

    @made.get("/of/{pipeline}")
    def of(request: Request, pipeline: str, top: int = 1) -> Response:
        return page(request, "said.html", words=file_of(request, pipeline).name, fault=False)

    @made.get("/raise/{what}")
    def fail(what: str) -> Response:
        raise {
            "input": InputError("Column 'power'\nis <missing>."),
            "store": StoreError("It does not answer."),
            "overtaken": OvertakenError("bob decided confirmed."),
        }.get(what, RuntimeError("a secret of the server"))

    return made


@pytest.fixture(scope="session")
def password_hash() -> str:
    return hashed("ada", PASSWORD)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(pipelines={"meters": tmp_path / "meters.yaml"}, root=tmp_path, runs=tmp_path / "runs", mode="password")


@pytest.fixture
def users(desk: Desk, password_hash: str) -> None:
    """A viewer, a reviewer and an admin, named after their roles, all with one password."""
    for role in ROLES:
        desk.store.users.put(role, role, password_hash, by="root")


@pytest.fixture
def browse(desk: Desk) -> Browse:
    """A browser at the desk, with changes to it; it follows no redirects."""

    def made(client: str = "127.0.0.1", base: str = BASE, **changes: object) -> TestClient:
        app = create_app(replace(desk, **changes), [router()])  # type: ignore[arg-type]
        return TestClient(
            app, base_url=base, client=(client, 50_000), follow_redirects=False, raise_server_exceptions=False
        )

    return made


def token(browser: TestClient, path: str = "/login") -> str:
    """The token in a page that the browser looks at."""
    text = browser.get(path).text
    found = re.search(r'name="csrftoken" value="([^"]+)"', text) or re.search(r'"x-csrftoken": "([^"]+)"', text)
    assert found is not None, text
    return found[1]


def log_in(browser: TestClient, name: str, password: str = PASSWORD, **more: str) -> int:
    """The status of the answer to a log-in."""
    data = {"csrftoken": token(browser), "name": name, "password": password, **more}
    return browser.post("/login", data=data).status_code
