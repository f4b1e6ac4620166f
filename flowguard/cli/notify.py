"""Send the messages that wait for their time or for an address that did not answer, or test every address."""

from __future__ import annotations

from pathlib import Path

import typer

from flowguard.cli import output

EXAMPLE = "flowguard notify pipelines/flights.yaml --test"


def command(
    file: Path = output.PIPELINE,
    test: bool = typer.Option(False, "--test", help="Send a test message to every address of the setting `notify`."),
    as_json: bool = output.JSON,
) -> None:
    arrived = _test(file, as_json) if test else _waiting(file, as_json)
    if not arrived:
        raise typer.Exit(1)


def _test(file: Path, as_json: bool) -> bool:
    from flowguard.stages.notify import notify_test

    tried = notify_test(file)

    def tell() -> None:
        for number, one in enumerate(tried, start=1):
            what = f"did not take it: {one.trouble}" if one.trouble else "took the message"
            output.say(f"{number}. {one.address} {what}")
        output.next_commands("flowguard doctor" if any(one.trouble for one in tried) else f"flowguard score {file}")

    output.emit(tried, as_json, tell)
    return not any(one.trouble for one in tried)


def _waiting(file: Path, as_json: bool) -> bool:
    from flowguard.stages.notify import notify_waiting

    done = notify_waiting(file)

    def tell() -> None:
        for words in done.trouble:
            output.say(words)
        if not done.sent and not done.trouble:
            output.say("Nothing is due.")
        elif done.sent:
            output.say(f"{done.sent:,} message{'' if done.sent == 1 else 's'} sent.")
        output.next_commands(f"flowguard notify {file} --test")

    output.emit(done, as_json, tell)
    return not done.trouble
