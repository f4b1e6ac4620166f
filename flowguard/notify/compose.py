"""Compose: what was noticed of a pipeline, as one message that reads well on a phone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from flowguard.notify.message import Line, Message, Mood, harmless
from flowguard.store import Notice

#: So many batches of one message are told apart, the newest; of one batch alone so many cases.
BATCHES, CASES = 5, 3
_Document = Mapping[str, Any]


def compose(notices: Sequence[Notice], *, occasion: str, desk: str | None) -> Message:
    """One message of all `notices`, of one pipeline and kind, the oldest first; links lead to the desk at `desk`.

    `occasion` is the run that sends it: what others noticed was held back or could not be sent, and that is said.
    """
    kind, name = notices[0].kind, notices[0].pipeline
    root = f"{desk.rstrip('/')}/p/{quote(name, safe='')}" if desk else ""
    title, lines = _KINDS[kind](name, [one.document for one in notices], root)
    said = _before(notices, occasion)
    place = len(lines) - 1 if lines and lines[-1].link else len(lines)
    lines = [*lines[:place], *([Line(said)] if said else []), *lines[place:]]
    return Message(title, tuple(lines), _MOODS.get(kind, "warning"))


def trial(pipeline: str, *, desk: str | None) -> Message:
    """A message that tells nothing but that messages arrive."""
    link = f"{desk.rstrip('/')}/p/{quote(pipeline, safe='')}" if desk else ""
    lines = [Line(f"Messages about {harmless(pipeline)} arrive here."), *([Line("The desk", link)] if link else [])]
    return Message(f"flowguard: a test for {harmless(pipeline)}", tuple(lines), "info")


def _before(notices: Sequence[Notice], occasion: str) -> str:
    """How many messages should have gone out before this one, each with all that its run noticed."""
    earlier = [one for one in notices if one.occasion != occasion]
    failed = {one.occasion for one in earlier if one.tries}
    held = {one.occasion for one in earlier} - failed
    said = [
        f"{len(found):,} earlier message{'' if len(found) == 1 else 's'} {verb(len(found))}"
        for found, verb in ((held, _held), (failed, _failed))
        if found
    ]
    return f"{'; '.join(said)}." if said else ""


def _held(count: int) -> str:
    return f"{'was' if count == 1 else 'were'} held back"


def _failed(count: int) -> str:
    return "could not be sent"


def _flagged(name: str, found: Sequence[_Document], root: str) -> tuple[str, list[Line]]:
    pipeline = harmless(name)
    if len(found) > 1:
        total, lines = sum(one["open"] for one in found), []
        for one in reversed(found[-BATCHES:]):
            lines.append(Line(_counts(one)))
            lines += [Line(f"- {harmless(case['title'])}") for case in one["cases"][:1]]
            lines += _link("Open the batch", root, _batch(one))
        title = f"{pipeline}: {total:,} records flagged in {len(found):,} batches"
        return title, [*lines, *_more(found), *_link("All batches", root, "")]
    one = found[0]
    lines = [Line(_counts(one))]
    for case in one["cases"][:CASES]:
        lines.append(Line(f"- {harmless(case['title'])}"))
        reasons = "; ".join(harmless(words) for words in case["reasons"])
        lines.append(Line(f"  {harmless(case['record'], 80)}: {reasons}"))
        query = urlencode({"batch": one["batch"]})
        lines += _link("Open the case", root, f"/cases/{quote(case['id'], safe='')}?{query}")
    if one["more"]:
        lines.append(Line(f"and {one['more']:,} more case{'' if one['more'] == 1 else 's'}"))
    title = f"{pipeline}: {one['open']:,} of {one['scored']:,} records flagged, {harmless(one['batch'], 60)}"
    return title, [*lines, *_link("Open the batch", root, _batch(one))]


def _counts(one: _Document) -> str:
    """How many of how many were flagged, and by which rule."""
    verb = "record is" if one["open"] == 1 else "records are"
    return (
        f"{one['open']:,} of {one['scored']:,} {verb} flagged in batch {harmless(one['batch'], 60)} "
        f"({harmless(one['policy'])}, version {one['version']})."
    )


def _drift(name: str, found: Sequence[_Document], root: str) -> tuple[str, list[Line]]:
    lines = []
    for one in reversed(found[-BATCHES:]):
        lines.append(Line(f"{harmless(one['batch'], 60)}: {harmless(one['sentence'], 300)}"))
        if one["columns"]:
            lines.append(Line(f"Columns: {', '.join(harmless(column, 60) for column in one['columns'][:10])}"))
    where = harmless(found[0]["batch"], 60) if len(found) == 1 else f"{len(found):,} batches"
    version = found[-1]["version"]
    title = f"{harmless(name)}: the data changed, {where}"
    return title, [*lines, *_more(found), *_link("Open the drift", root, f"/drift?version={version}")]


def _late(name: str, found: Sequence[_Document], root: str) -> tuple[str, list[Line]]:
    lines = [Line(harmless(one["sentence"], 300)) for one in reversed(found[-BATCHES:])]
    batch = harmless(found[-1]["batch"], 60)
    title = f"{harmless(name)}: {f'batch {batch}' if batch else 'the data'} is late"
    return title, [*lines, *_more(found), *_link("Open the pipeline", root, "")]


def _empty(name: str, found: Sequence[_Document], root: str) -> tuple[str, list[Line]]:
    lines = [Line(f"Batch {harmless(one['batch'], 60)} holds no record.") for one in reversed(found[-BATCHES:])]
    where = f"batch {harmless(found[0]['batch'], 60)} is" if len(found) == 1 else f"{len(found):,} batches are"
    return f"{harmless(name)}: {where} empty", [*lines, *_more(found), *_link("Open the pipeline", root, "")]


def _gate(name: str, found: Sequence[_Document], root: str) -> tuple[str, list[Line]]:
    lines = [Line(harmless(one["sentence"], 500)) for one in reversed(found[-BATCHES:])]
    last = found[-1]
    what = "scores from the next run on" if last["promoted"] else "failed its gate"
    title = f"{harmless(name)}: version {last['version']} {what}"
    return title, [*lines, *_more(found), *_link("Open the version", root, f"/versions/{last['version']}")]


def _failed_run(name: str, found: Sequence[_Document], root: str) -> tuple[str, list[Line]]:
    lines = []
    for one in reversed(found[-BATCHES:]):
        lines.append(Line(f"{harmless(one['run'])}: {harmless(one['message'], 500)}"))
        lines += [Line("Open the run", one["link"])] if one["link"] else []
    what = f"{harmless(found[0]['run'], 80)} failed" if len(found) == 1 else f"{len(found):,} runs failed"
    return f"{harmless(name)}: {what}", [*lines, *_more(found)]


def _batch(one: _Document) -> str:
    return f"/batches/{quote(one['batch'])}"


def _more(found: Sequence[_Document]) -> list[Line]:
    rest = len(found) - BATCHES
    return [Line(f"and {rest:,} more")] if rest > 0 else []


def _link(words: str, root: str, path: str) -> list[Line]:
    return [Line(words, f"{root}{path}")] if root else []


_KINDS: dict[str, Callable[[str, Sequence[_Document], str], tuple[str, list[Line]]]] = {
    "flagged": _flagged,
    "drift": _drift,
    "late": _late,
    "empty": _empty,
    "gate": _gate,
    "failed": _failed_run,
}
_MOODS: dict[str, Mood] = {"failed": "failure"}
