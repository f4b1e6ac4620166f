"""The pieces that flows share."""

from __future__ import annotations

import pytest

from flowguard.errors import FlowguardError, InputError


class State:
    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def result(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "retried"),
    [(InputError("a wrong path"), False), (FlowguardError("locked"), True), (OSError("disk"), True), (None, False)],
)
def test_what_may_pass_is_retried_and_wrong_input_is_not(error: Exception | None, retried: bool) -> None:
    from flows.local import worth_retrying

    assert worth_retrying(None, None, State(error)) is retried


def test_artifact_keys_are_what_prefect_allows() -> None:
    from flows.local import artifact_key

    assert artifact_key("Night_Shift-2") == "night-shift-2"


def test_outside_of_a_run_there_is_no_run_id() -> None:
    from flows.local import run_id

    assert run_id() is None
