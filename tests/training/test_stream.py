"""The shuffle buffer: every record once, bounded memory, an order that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.density import Inputs
from flowguard.training import Records, shuffled_batches


def records(start: int, count: int) -> Records:
    x = torch.arange(start, start + count, dtype=torch.float32)[:, None]
    return Records(Inputs.plain(x), torch.zeros_like(x))


def stream(sizes: list[int]) -> Iterator[Records]:
    start = 0
    for size in sizes:
        yield records(start, size)
        start += size


def drawn(sizes: list[int], batch_size: int, buffer_rows: int, seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    batches = shuffled_batches(stream(sizes), batch_size=batch_size, buffer_rows=buffer_rows, generator=generator)
    return [batch.inputs.x[:, 0].int().tolist() for batch in batches]


@given(
    st.lists(st.integers(0, 40), max_size=12),
    st.integers(1, 17),
    st.integers(1, 64),
)
@settings(max_examples=80, deadline=None)
def test_every_record_is_drawn_exactly_once(sizes: list[int], batch_size: int, buffer_rows: int) -> None:
    batches = drawn(sizes, batch_size, buffer_rows)
    assert sorted(value for batch in batches for value in batch) == list(range(sum(sizes)))
    assert all(0 < len(batch) <= batch_size for batch in batches)


def test_a_table_smaller_than_the_buffer_is_shuffled_as_a_whole() -> None:
    order = [value for batch in drawn([50, 50], 10, 1000) for value in batch]
    assert order != sorted(order)
    assert any(value >= 50 for value in order[:50])


def test_the_order_depends_on_the_seed_alone() -> None:
    assert drawn([30, 30, 30], 8, 40, seed=3) == drawn([30, 30, 30], 8, 40, seed=3)
    assert drawn([30, 30, 30], 8, 40, seed=3) != drawn([30, 30, 30], 8, 40, seed=4)


def test_the_buffer_bounds_what_is_held() -> None:
    taken = 0

    def counted() -> Iterator[Records]:
        nonlocal taken
        for chunk in stream([100] * 50):
            taken += len(chunk)
            yield chunk

    given_out = 0
    generator = torch.Generator().manual_seed(0)
    for batch in shuffled_batches(counted(), batch_size=10, buffer_rows=300, generator=generator):
        assert taken - given_out <= 300 + 100
        given_out += len(batch)
    assert given_out == 5000
