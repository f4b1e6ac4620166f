"""Notify: tell the addresses of the settings what happened, each event once, and never let a run fail by it."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from flowguard.errors import InputError
from flowguard.logs import note, scoped
from flowguard.notify import Address, Delivery, compose, read_addresses, send, trial
from flowguard.settings import masked, settings
from flowguard.spec.notify import NotifySection
from flowguard.spec.pipeline import project_of
from flowguard.stages.freshness import Freshness
from flowguard.stages.gate.check import Gated
from flowguard.stages.manifest import latest
from flowguard.stages.noticed import drifts, empties, flagged, gates, lateness
from flowguard.stages.progress import say
from flowguard.stages.workspace import Workspace, store_in
from flowguard.store import Notice, Store

LOG = logging.getLogger("flowguard.notify")
_P = ParamSpec("_P")


@dataclass(frozen=True)
class Notified:
    """What went out: `sent` messages, one per kind and address; `trouble` says of each that did not why."""

    pipeline: str
    sent: int = 0
    trouble: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tried:
    """What became of a test message; `trouble` is "" where it was taken."""

    address: str
    trouble: str


def _spared(stage: Callable[Concatenate[str | Path, _P], Notified]) -> Callable[Concatenate[str | Path, _P], Notified]:
    """The stage, which logs what goes wrong in place of raising it: whatever was noticed is done and counts."""

    @wraps(stage)
    def spared(pipeline: str | Path, *args: _P.args, **named: _P.kwargs) -> Notified:
        try:
            return stage(pipeline, *args, **named)
        except Exception as error:
            words = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
            LOG.warning("nobody was told what happened: %s", masked(words))
            return Notified(Path(pipeline).stem, trouble=(masked(words),))

    return spared


@_spared
@scoped
def notify_scored(pipeline: str | Path, batches: Sequence[str]) -> Notified:
    """Tell what was found in scored batches that were just queued: flagged records, drift, no record at all.

    What waits since an earlier run goes out with it, also where there is no batch.
    """
    channel = _Channel.of(pipeline)
    if channel is None:
        return Notified(Path(pipeline).stem)
    workspace, occasion = Workspace.open(pipeline), uuid.uuid4().hex
    scored = latest(workspace.folder) if batches else {}
    manifests = [scored[batch] for batch in batches]
    noticed = [
        *flagged(workspace, manifests, occasion),
        *drifts(workspace, manifests, occasion),
        *empties(workspace, manifests, occasion),
    ]
    return channel.tell(noticed, occasion)


@_spared
@scoped
def notify_late(pipeline: str | Path, found: Freshness) -> Notified:
    """Tell that a batch is not there, once for each; what waits goes out with it."""
    channel = _Channel.of(pipeline)
    if channel is None:
        return Notified(found.pipeline)
    occasion = uuid.uuid4().hex
    return channel.tell(lateness(found, occasion), occasion)


@_spared
@scoped
def notify_gate(pipeline: str | Path, gated: Gated) -> Notified:
    """Tell that a version failed its gate, or was promoted by it; what waits goes out with it."""
    channel = _Channel.of(pipeline)
    if channel is None:
        return Notified(Path(pipeline).stem)
    occasion = uuid.uuid4().hex
    return channel.tell(gates(channel.name, gated, occasion), occasion)


@_spared
@scoped
def notify_failed(pipeline: str | Path, *, run: str, run_id: str, message: str, link: str = "") -> Notified:
    """Tell that a run failed, also where the pipeline file itself cannot be read."""
    channel = _Channel.of(pipeline)
    if channel is None:
        return Notified(Path(pipeline).stem)
    document = {"run": run, "message": masked(message), "link": link}
    return channel.tell([Notice(channel.name, "failed", run_id, document, run_id)], run_id)


@scoped
def notify_waiting(pipeline: str | Path) -> Notified:
    """Send what waits: held back in an earlier run, or not taken then."""
    return _asked(pipeline).tell([], uuid.uuid4().hex)


@scoped
def notify_test(pipeline: str | Path) -> tuple[Tried, ...]:
    """Send a test message to every address, whatever was sent before, and say of each whether it was taken."""
    channel = _asked(pipeline)
    message = trial(channel.name, desk=channel.desk)
    return tuple(Tried(done.address.name, done.trouble) for done in (send(message, to) for to in channel.addresses))


def _asked(pipeline: str | Path) -> _Channel:
    """The channel of somebody who asks for it: a file that cannot be read, or no address, is an error."""
    Workspace.open(pipeline)
    channel = _Channel.of(pipeline)
    if channel is None:
        raise InputError(
            "There is nobody to tell: the setting `notify` has no address. Give one or more in FLOWGUARD_NOTIFY, "
            "such as slack://TOKEN_A/TOKEN_B/TOKEN_C or mailto://user:password@example.org, apart by spaces."
        )
    return channel


@dataclass(frozen=True)
class _Channel:
    """To whom and how a pipeline's messages go."""

    name: str
    section: NotifySection
    addresses: tuple[Address, ...]
    desk: str | None
    origin: str
    store: Store

    @classmethod
    def of(cls, pipeline: str | Path) -> _Channel | None:
        """That of a pipeline file, with what is usual where it cannot be read; None where there is no address."""
        root = project_of(Path(pipeline).absolute())
        given = settings(root)
        if not given.notify:
            return None
        try:
            spec = Workspace.open(pipeline).pipeline
            name, section, runs = spec.name, spec.notify, root / spec.output.folder
        except InputError:
            name, section, runs = Path(pipeline).stem, NotifySection(), root / "runs"
            note(pipeline=name)
        store = store_in(runs, project=root)
        return cls(name, section, read_addresses(given.notify), given.desk_url, given.origin("notify"), store)

    def tell(self, noticed: Sequence[Notice], occasion: str) -> Notified:
        """Remember what was noticed, then send of every kind what is due."""
        notices, ids = self.store.notices, [address.id for address in self.addresses]
        notices.add([one for one in noticed if one.kind in self.section.on])
        sent, trouble = 0, list[str]()
        for kind in (kind for kind in notices.kinds(self.name) if kind in self.section.on):
            sender = uuid.uuid4().hex
            due = notices.claim(self.name, kind, addresses=ids, every=self.section.span, sender=sender)
            reached = []
            for one in due:
                address = self.addresses[ids.index(one.address)]
                done = send(compose(one.notices, occasion=occasion, desk=self.desk), address)
                if done.trouble:
                    trouble.append(self._warned(kind, done))
                else:
                    reached.append(address.id)
            if due:
                notices.settle(self.name, kind, sender=sender, reached=reached, addresses=ids)
            if reached:
                said: dict[str, Any] = {"kind": kind, "addresses": len(reached)}
                LOG.info("told", extra=said)
                say(f"Told {len(reached):,} of {len(ids):,} addresses: {kind}.")
            sent += len(reached)
        return Notified(self.name, sent, tuple(trouble))

    def _warned(self, kind: str, done: Delivery) -> str:
        place = self.addresses.index(done.address) + 1
        words = f"The message ({kind}) did not reach {done.address.name}, address {place} of `notify`: {done.trouble}."
        LOG.warning(
            "%s The next run tries again. Correct %s, then try: flowguard notify FILE --test", words, self.origin
        )
        return words
