"""The users of the desk: list them, add one with a role, change a password, remove one."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from flowguard.cli import output
from flowguard.cli.review import Role
from flowguard.errors import InputError

if TYPE_CHECKING:
    from flowguard.stages.users import UserLine

EXAMPLE = "flowguard users add ada --role reviewer"


class Action(StrEnum):
    """What is done."""

    list = "list"
    add = "add"
    passwd = "passwd"
    remove = "remove"


def command(
    action: Action = typer.Argument(Action.list, metavar="ACTION", help="list, add, passwd or remove."),
    name: str | None = typer.Argument(None, metavar="NAME", help="The user.", show_default=False),
    role: Role | None = typer.Option(
        None,
        help="With add: viewer looks and exports, reviewer also decides and makes rules, admin also promotes versions. "
        "For one who is there already, the new role.",
        show_default=False,
    ),
    no_password: bool = typer.Option(
        False, "--no-password", help="With add: for one who comes through a proxy, or keeps the password."
    ),
    password_stdin: bool = typer.Option(
        False, "--password-stdin", help="Read the password from the first line of standard input; else it is asked for."
    ),
    runs: Path = typer.Option(Path("runs"), "--runs", help="The output folder, which holds the store of users."),
    as_json: bool = output.JSON,
) -> None:
    from flowguard.stages import users as stage

    if (action is Action.list) == (name is not None):
        raise InputError(
            f"`flowguard users {action.value}` takes "
            + ("no name; it lists all." if name else f"a name: `flowguard users {action.value} ada`.")
        )
    if role is not None and action is not Action.add:
        raise InputError(
            "--role goes with add, also for a user who is there already: `flowguard users add ada --role admin "
            "--no-password` keeps the password."
        )
    if no_password and (password_stdin or action is not Action.add):
        raise InputError("--no-password goes with add, and not with --password-stdin.")
    if password_stdin and action not in (Action.add, Action.passwd):
        raise InputError("--password-stdin goes with add and passwd.")
    if name is None:
        _list(stage.users(runs), as_json)
        return
    if action is Action.add:
        if role is None:
            raise InputError("A user has a role: --role viewer, reviewer or admin.")
        line = stage.add_user(runs, name, role.value, None if no_password else _password(name, password_stdin))
        without = "." if line.password else ", without a password: only a proxy lets them in."
        said = f"{line.name} is {line.role}{without}"
    elif action is Action.passwd:
        stage.known_user(runs, name)
        line = stage.change_password(runs, name, _password(name, password_stdin))
        said = f"{line.name} has a new password, and is logged out wherever the one before was used."
    else:
        line = stage.remove_user(runs, name)
        said = f"{line.name} is no user any more, and is logged out. What they decided stays."

    def tell() -> None:
        output.say(said)
        output.next_commands("flowguard users", "flowguard review")

    output.emit(line, as_json, tell)


def _list(lines: list[UserLine], as_json: bool) -> None:
    def tell() -> None:
        if not lines:
            output.say("There are no users yet: the desk opens for this machine alone, and works as whoever opens it.")
            output.next_commands("flowguard users add NAME --role reviewer")
            return
        rows = [
            [one.name, one.role, "yes" if one.password else "no", f"{one.changed_at:%Y-%m-%d %H:%M}", one.changed_by]
            for one in lines
        ]
        output.table("Users of the desk", ["name", "role", "password", "changed (UTC)", "by"], rows)
        output.next_commands("flowguard review")

    output.emit(lines, as_json, tell)


def _password(name: str, from_stdin: bool) -> str:
    """Never an argument: other users of the machine see those, and shells keep them."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InputError("There is no terminal to ask for a password on. Pipe it in with --password-stdin.")
    return str(typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True, err=True))
