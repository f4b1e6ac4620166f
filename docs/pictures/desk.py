"""The pictures of the desk in docs/desk.md and the README: `make pictures`, on the project of `flowguard demo`.

    python -m docs.pictures.desk [PROJECT] [--only NAME]

PROJECT is a folder in which the demo has run, by default this one. It is copied, and in the copy two people decide on
some records, so that there is something to see. Needs what the tests in a browser need.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Browser, Page

from flowguard.review import Judged, decide
from flowguard.store import Decision, QueuedRecord
from tests.e2e.browser import PHONE, chromium, visit
from tests.e2e.desk import RunningDesk, add_user, copied, flowguard, log_in, open_desk, settled

HERE = Path(__file__).parent
WIDE = 1200
LARGEST = 250_000  # bytes of a picture: readers of a README wait for it
#: Colours of a picture, fewer where it would be too large: flat pages have few.
COLOURS = (256, 128, 64, 32)
BUSY = "2013-07-01"
#: One flight a day, whose long delays are known: a rule that makes sense to look at.
RULE = ("--column", "dep_delay=above:1500", "--column", "arr_delay=above", "--where", "carrier=HA")
WHY = "one flight a day, and it waits for its connections"


def main(arguments: list[str]) -> None:
    """Make the pictures, or the one that is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("project", nargs="?", type=Path, default=Path(), help="where `flowguard demo` has run")
    parser.add_argument("--only", help="the picture of this name alone: queue, batch, record, phone ...")
    given = parser.parse_args(arguments)
    if not (given.project / "runs/flowguard.db").is_file():
        parser.error(f"{given.project.resolve()} has no runs/flowguard.db: run `flowguard demo` there first.")
    with tempfile.TemporaryDirectory() as scratch:
        project = copied(given.project, Path(scratch) / "project", only=("data", "pipelines", "runs"))
        add_user(project, "ada", "admin")
        flowguard(project, "rules", "pipelines/flights.yaml", "add", *RULE, "--why", WHY, "--who", "ada")
        with open_desk(project, "flights", Path(scratch) / "log.txt") as desk, chromium() as browser:
            work(desk)
            for name, path, height in pages(desk):
                if given.only in (None, name):
                    keep(f"desk-{name}", shot(browser, desk, path, height))
            if given.only in (None, "phone"):
                keep("desk-phone", phones(browser, desk))


def work(desk: RunningDesk) -> None:
    """What two people decided so far: an air time that no plane can fly is an anomaly, a long delay is known."""
    for place, one in enumerate(desk.records(state="open")[:90]):
        first = one.document["reasons"][0]["column"]
        decision: Decision = "confirmed" if first == "air_time" else "unsure" if place % 9 == 0 else "false_alarm"
        if one.batch != BUSY or place % 3 == 0:
            _decide(desk, one, decision, ("ada", "bob")[place % 2])
    for place, one in enumerate(desk.records(kind="drawn", state="open")[:40]):
        _decide(desk, one, "false_alarm", ("ada", "bob")[place % 2])


def _decide(desk: RunningDesk, one: QueuedRecord, decision: Decision, who: str) -> None:
    judged = Judged(one.record_id, one.batch, one.version, one.score, one.p_value, one.flagged, one.audited)
    note = "an air time that no plane can fly" if decision == "confirmed" else ""
    decide(desk.store.verdicts, desk.pipeline, judged, decision, who=who, note=note, seen=one.entry)


def pages(desk: RunningDesk) -> list[tuple[str, str, int]]:
    """The name of each picture, the page that it shows, and its height."""
    case = max(desk.store.queue.cases(desk.pipeline, BUSY), key=lambda one: one.open)
    undecided = next(one for one in desk.records(state="open", batch=BUSY))
    return [
        ("login", "login", 430),
        ("queue", "queue", 900),
        ("batch", f"p/flights/batches/{BUSY}", 1000),
        ("record", desk.record_url(undecided).removeprefix(desk.url), 1180),
        ("case", f"p/flights/cases/{quote(case.case_id)}?batch={BUSY}", 700),
        ("version", "p/flights/versions/1", 1000),
        ("drift", "p/flights/drift", 900),
        ("rules", "p/flights/rules", 420),
    ]


def shot(browser: Browser, desk: RunningDesk, path: str, height: int) -> Image.Image:
    """The upper part of a page."""
    with visit(browser, f"{desk.url}login", viewport={"width": WIDE, "height": height}) as seen:
        if path != "login":
            opened(seen.page, f"{desk.url}{path}")
        return Image.open(io.BytesIO(seen.page.screenshot()))


def opened(page: Page, address: str) -> None:
    """Log in and open a page, with its first row selected where it is one to decide on."""
    log_in(page, "ada")
    page.wait_for_url("**/queue")
    page.goto(address)
    settled(page)
    page.wait_for_timeout(500)


def phones(browser: Browser, desk: RunningDesk) -> Image.Image:
    """The queue, a batch and a record on a phone in the dark, side by side."""
    by_name = {name: path for name, path, _ in pages(desk)}
    shown = []
    for name in ("queue", "batch", "record"):
        with visit(browser, f"{desk.url}login", viewport=PHONE, color_scheme="dark") as seen:
            opened(seen.page, f"{desk.url}{by_name[name]}")
            shown.append(Image.open(io.BytesIO(seen.page.screenshot())))
    gap = (WIDE - len(shown) * PHONE["width"]) // (len(shown) - 1)
    whole = Image.new("RGB", (WIDE, PHONE["height"]), "#ffffff")
    for place, one in enumerate(shown):
        whole.paste(one, (place * (PHONE["width"] + gap), 0))
    return whole


def keep(name: str, picture: Image.Image) -> None:
    """Write it with as many colours as its size allows."""
    for colours in COLOURS:
        buffer = io.BytesIO()
        picture.convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST:
            break
    path = HERE / f"{name}.png"
    path.write_bytes(buffer.getvalue())
    print(f"{path.relative_to(HERE.parents[1])}  {picture.width} x {picture.height}  {buffer.tell() // 1024} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
