"""The throttle: waits grow for who guesses, and are forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from flowguard.review.web import throttle
from flowguard.review.web.throttle import FREE, FREE_ADDRESS, FREE_NAME, LONGEST_WAIT, Throttle


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_each_wrong_password_doubles_the_wait_up_to_the_longest() -> None:
    clock = Clock()
    held = Throttle(clock)
    waits = []
    for _ in range(FREE + 12):
        waits.append(held.enter("ada", "a"))
        clock.now += waits[-1]
        if waits[-1]:
            assert held.enter("ada", "a") == 0.0, "after the wait the next is let in"
    assert waits[:FREE] == [0.0] * FREE
    assert waits[FREE : FREE + 4] == [2.0, 4.0, 8.0, 16.0]
    assert max(waits) == LONGEST_WAIT


def test_waiting_attempts_are_not_counted() -> None:
    clock = Clock()
    held = Throttle(clock)
    for _ in range(100):
        held.enter("ada", "a")
    clock.now += 2.0
    assert held.enter("ada", "a") == 0.0


def test_other_names_and_addresses_are_not_held_up() -> None:
    held = Throttle(Clock())
    for _ in range(FREE):
        held.enter("ada", "a")
    assert held.enter("Ada", "a") > 0, "capitals are no other name"
    assert held.enter("bob", "a") == 0.0
    assert held.enter("ada", "b") == 0.0


def test_many_names_from_one_address_and_one_name_from_many_are() -> None:
    held = Throttle(Clock())
    assert [held.enter(f"name {n}", "a") > 0 for n in range(FREE_ADDRESS + 1)] == [False] * FREE_ADDRESS + [True]
    held = Throttle(Clock())
    assert [held.enter("ada", f"address {n}") > 0 for n in range(FREE_NAME + 1)] == [False] * FREE_NAME + [True]


def test_the_right_password_starts_anew_and_costs_nobody_else() -> None:
    held = Throttle(Clock())
    for _ in range(10 * FREE_ADDRESS):
        assert held.enter("ada", "a") == 0.0
        held.passed("ada", "a")
    for _ in range(FREE - 1):
        held.enter("ada", "a")
    held.enter("ada", "a")
    held.passed("ada", "a")
    assert held.enter("ada", "a") == 0.0


def test_an_hour_later_all_is_forgotten_and_no_memory_grows() -> None:
    clock = Clock()
    held = Throttle(clock)
    for _ in range(FREE):
        held.enter("ada", "a")
    clock.now += 3_601
    assert [held.enter("ada", "a") for _ in range(FREE)] == [0.0] * FREE
    for number in range(throttle._MOST):
        held.enter(f"{number}", f"{number}")
    assert len(held._tallies) == throttle._MOST
