"""The probability of codes and integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch

from flowguard.density import Column, DiscretePart
from flowguard.density.seeding import seeded

NUMBER, GAPPY = Column("number", (98, 0)), Column("number", (90, 8))
ATOMS = Column("number", (50, 8, 30, 10))
LEVELS = Column("category", (0, 0, 60, 30, 8), novel=0.02)
CUT = Column("category", (5, 3, 60, 30))
INTEGER, GAPPY_INTEGER = Column("integer", (98, 0, 0)), Column("integer", (80, 15, 3))
CONSTANT = Column("category", (0, 0, 98))
STEP = 1.0
TABLES = [
    [NUMBER],
    [CONSTANT],
    [GAPPY],
    [NUMBER, GAPPY, NUMBER],
    [GAPPY, GAPPY, GAPPY],
    [LEVELS],
    [ATOMS, LEVELS],
    [CUT, NUMBER, ATOMS],
    [INTEGER],
    [GAPPY_INTEGER],
    [LEVELS, INTEGER],
    [GAPPY_INTEGER, CUT, INTEGER],
]


def part(columns: Sequence[Column], *, context: int = 0, scale: float = 0.3, **settings: Any) -> DiscretePart:
    """One whose weights are moved at random, as if trained."""
    with seeded(4):
        made = DiscretePart(columns, context=context, hidden=(12, 12), **settings).double().eval()
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return made


def everything(columns: Sequence[Column]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, lower edges and log widths of every record there can be, integers on 150 steps."""
    edges = [STEP * k for k in range(-75, 75)]
    choices = []
    for column in columns:
        coded = [(code, None) for code in range(len(column.counts))]
        if column.kind == "integer":
            coded = [(0, edge) for edge in edges] + coded[1:]  # type: ignore[misc]
        choices.append(coded)
    records = list(product(*choices))
    codes = torch.tensor([[code for code, _ in record] for record in records])
    integers = [i for i, column in enumerate(columns) if column.kind == "integer"]
    lower = torch.tensor(
        [[record[i][1] if record[i][1] is not None else math.nan for i in integers] for record in records],
        dtype=torch.float64,
    ).reshape(len(records), len(integers))
    return codes, lower, torch.full_like(lower, math.log(STEP))


@pytest.mark.parametrize("columns", TABLES, ids=lambda columns: "-".join(column.kind for column in columns))
@pytest.mark.parametrize("context", [0, 2])
def test_over_all_records_there_can_be_the_probabilities_sum_to_one(columns: list[Column], context: int) -> None:
    made = part(columns, context=context, scale=0.1)
    codes, lower, log_width = everything(columns)
    given = torch.ones(len(codes), context, dtype=torch.float64)
    with torch.no_grad():
        total = made.terms(codes, lower, log_width, given).sum(-1).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


def test_a_new_one_says_what_the_frequencies_say() -> None:
    with seeded(1):
        made = DiscretePart([ATOMS, LEVELS], context=0).double()
    none = torch.zeros(1, 0, dtype=torch.float64)
    found = made.code_log_probs(torch.tensor([[2, 3]]), none, none, none, column=0).exp()[0]
    assert found.tolist() == pytest.approx([50 / 98, 8 / 98, 30 / 98, 10 / 98], rel=0.1)


def test_a_code_that_never_occurred_has_its_constant_probability_whatever_was_learned() -> None:
    made = part([NUMBER, LEVELS, INTEGER], context=1, scale=3.0)
    codes = torch.tensor([[1, 2, 0], [0, 0, 0], [0, 1, 0], [0, 2, 2], [0, 2, 1]])
    zeros = torch.zeros(5, 1, dtype=torch.float64)
    terms = made.terms(codes, zeros, zeros, torch.randn(5, 1, dtype=torch.float64)).exp()
    assert terms[0, 0].item() == pytest.approx(0.01)
    assert terms[1, 1].item() == pytest.approx(0.02)
    assert terms[2, 1].item() == pytest.approx(0.01)
    assert terms[3, 2].item() == terms[4, 2].item() == pytest.approx(0.01)


def test_a_feature_depends_on_the_context_and_on_earlier_features_only() -> None:
    columns = [LEVELS, INTEGER, ATOMS]
    made = part(columns, context=1)
    codes = torch.tensor([[2, 0, 2]])
    at = torch.full((1, 1), 0.25, dtype=torch.float64)
    wide, given = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    base = made.terms(codes, at, wide, given)[0]
    assert (made.terms(codes, at, wide, given + 1)[0] != base).all()
    last = made.terms(torch.tensor([[2, 0, 3]]), at, wide, given)[0]
    assert torch.equal(last[:2], base[:2])
    moved = made.terms(codes, at + 1, wide, given)[0]
    assert moved[0] == base[0]
    assert (moved[1:] != base[1:]).all()
    first = made.terms(torch.tensor([[3, 0, 2]]), at, wide, given)[0]
    assert (first != base).all()


def test_what_stands_in_an_integer_without_value_does_not_matter() -> None:
    made = part([GAPPY_INTEGER, LEVELS])
    codes = torch.tensor([[1, 2], [2, 2]])
    none = torch.zeros(2, 0, dtype=torch.float64)
    zero = made.terms(codes, torch.zeros(2, 1).double(), torch.zeros(2, 1).double(), none)
    odd = torch.full((2, 1), torch.nan, dtype=torch.float64)
    assert torch.equal(made.terms(codes, odd, odd, none), zero)


def test_no_record_is_impossible_whatever_was_learned() -> None:
    made = part([GAPPY, LEVELS, CUT], context=1, scale=1e4).float()
    codes, *_ = everything(made.columns)
    none = torch.zeros(len(codes), 0)
    assert made.terms(codes, none, none, torch.full((len(codes), 1), 1e3)).min() > -30


@pytest.mark.parametrize("backoff", [0.01, 0.1, 0.5])
def test_a_feature_is_never_less_probable_than_backoff_times_what_the_columns_before_say(backoff: float) -> None:
    """Whatever the context makes the network believe, wild weights included."""
    columns = [GAPPY, LEVELS, ATOMS]
    made = part(columns, context=2, scale=3.0, backoff=backoff)
    codes, *_ = everything(columns)
    generator = torch.Generator().manual_seed(2)
    given = 10 * torch.randn(20, 2, generator=generator, dtype=torch.float64).repeat_interleave(len(codes), 0)
    many, none = codes.repeat(20, 1), torch.zeros(20 * len(codes), 0, dtype=torch.float64)
    terms = made.terms(many, none, none, given)
    assert made.network is not None
    # With no correction by the context both parts of the mixture say the same.
    with torch.no_grad():
        for parameter in made.network.parameters():
            parameter.zero_()
    alone = made.terms(many, none, none, given)
    torch.testing.assert_close(alone, alone[: len(codes)].repeat(20, 1))
    assert (terms >= math.log(backoff) + alone - 1e-12).all()
    assert (terms - alone).abs().max() > 0.3


def test_samples_follow_their_probabilities() -> None:
    columns = [ATOMS, INTEGER, LEVELS]
    made = part(columns, context=1)
    n = 20_000
    lattice = lambda place, point: (  # noqa: E731
        torch.floor(point / STEP) * STEP,
        torch.full_like(point, math.log(STEP)),
    )
    given = torch.ones(n, 1, dtype=torch.float64)
    codes, lower, log_width = made.sample(given, lattice=lattice, generator=torch.Generator().manual_seed(1))
    everyone = everything(columns)
    log_p = made.terms(*everyone, torch.ones(len(everyone[0]), 1, dtype=torch.float64)).sum(-1)
    expected = -(log_p.exp() * log_p).sum()
    found = -made.terms(codes, lower, log_width, given).sum(-1)
    assert found.mean().item() == pytest.approx(expected.item(), abs=5 * found.std().item() / n**0.5)
    for code in range(4):
        chance = log_p.exp()[everyone[0][:, 0] == code].sum().item()
        share = (codes[:, 0] == code).double().mean().item()
        assert share == pytest.approx(chance, abs=5 * (chance * (1 - chance) / n) ** 0.5 + 1e-6)


def test_integers_are_not_drawn_without_their_lattice() -> None:
    with pytest.raises(TypeError, match="pass the encoder's `lattice`"):
        part([INTEGER]).sample(torch.zeros(2, 0, dtype=torch.float64))


def test_an_integers_quantile_has_its_probability_below_it() -> None:
    made = part([LEVELS, INTEGER])
    codes, none = torch.tensor([[2, 0], [3, 0]]), torch.zeros(2, 0, dtype=torch.float64)
    zero = torch.zeros(2, 1, dtype=torch.float64)
    point = made.quantile(codes, zero, zero, none, column=1, q=0.9)
    wide = torch.full((2, 1), math.log(1e4), dtype=torch.float64)
    below = made.terms(codes, point.unsqueeze(1) - 1e4, wide, none)[:, 1].exp() / (1 - 2 / 100)
    assert below.tolist() == pytest.approx([0.9, 0.9], abs=1e-6)


def test_a_code_that_its_column_does_not_have_is_refused() -> None:
    none = torch.zeros(1, 0, dtype=torch.float64)
    for code in (-1, 2):
        with pytest.raises(IndexError, match="outside its column's"):
            part([GAPPY]).terms(torch.tensor([[code]]), none, none, none)


def test_a_weight_of_the_context_free_part_outside_of_0_and_1_is_refused() -> None:
    for backoff in (0.0, 1.0):
        with pytest.raises(ValueError, match="backoff"):
            DiscretePart([GAPPY], context=0, backoff=backoff)


def learned(columns: Sequence[Column], codes: torch.Tensor, context: torch.Tensor, lower: torch.Tensor) -> DiscretePart:
    """Trained on these records for 300 steps."""
    with seeded(1):
        made = DiscretePart(columns, context=context.shape[1], hidden=(32,))
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.01)
    n = len(codes)
    width = torch.full_like(lower, math.log(0.1))
    for step in range(300):
        rows = slice(step * 500 % n, step * 500 % n + 500)
        optimizer.zero_grad()
        (-made.terms(codes[rows], lower[rows], width[rows], context[rows]).sum(-1).mean()).backward()
        optimizer.step()
    return made.eval()


def test_columns_that_go_missing_together_are_learned() -> None:
    """5 % of the records lack all three columns (a broken feed), 2 % the last alone; nothing else happens."""
    generator = torch.Generator().manual_seed(0)
    n = 4000
    draw = torch.rand(n, generator=generator)
    codes = torch.zeros(n, 3, dtype=torch.long)
    codes[draw < 0.05] = 1
    codes[(draw >= 0.05) & (draw < 0.07), 2] = 1
    counts = [(n - int(codes[:, i].sum()), int(codes[:, i].sum())) for i in range(3)]
    context, none = torch.randn(n, 2, generator=generator), torch.zeros(n, 0)
    made = learned([Column("number", count) for count in counts], codes, context, none)
    with torch.no_grad():
        chances = {
            name: made.terms(
                torch.tensor([[int(c) for c in name]]).expand(500, 3), none[:500], none[:500], context[:500]
            )
            .sum(-1)
            .exp()
            .mean()
            .item()
            for name in ("000", "111", "001", "100", "010")
        }
    assert chances["000"] == pytest.approx(0.93, abs=0.02)
    assert chances["111"] == pytest.approx(0.05, abs=0.015), "not 0.05 ** 3"
    assert chances["001"] == pytest.approx(0.02, abs=0.01)
    assert 0 < chances["100"] < 0.01
    assert 0 < chances["010"] < 0.01


@pytest.mark.e2e
def test_the_context_tells_which_level_to_expect_and_a_level_which_integer() -> None:
    generator = torch.Generator().manual_seed(3)
    n = 4000
    context = torch.randn(n, 1, generator=generator)
    level = torch.where(context[:, 0] > 0, 3, 2)
    lower = torch.where(level == 3, 1.0, -1.0) + 0.1 * torch.randint(-2, 3, (n,), generator=generator)
    codes = torch.stack((level, torch.zeros(n, dtype=torch.long)), 1)
    columns = [Column("category", (0, 0, 2000, 2000)), Column("integer", (n, 0, 0))]
    made = learned(columns, codes, context, lower.unsqueeze(1))
    with torch.no_grad():
        width = torch.full((1, 1), math.log(0.1))
        expected, odd = (
            made.terms(torch.tensor([[3, 0]]), torch.full((1, 1), at), width, torch.tensor([[1.0]]))[0]
            for at in (1.0, -1.0)
        )
        wrong = made.terms(torch.tensor([[2, 0]]), torch.full((1, 1), -1.0), width, torch.tensor([[1.0]]))[0]
    assert expected[0].exp() > 0.85
    assert wrong[0].exp() < 0.1
    assert expected[1].exp() == pytest.approx(0.2, abs=0.06)
    assert odd[1].exp() < 0.02


@pytest.mark.e2e
def test_of_hundreds_of_columns_hardly_ever_set_the_ones_that_go_together_are_learned() -> None:
    """Were common codes not 0 to the network, each step would move every logit, far beyond the frequencies."""
    generator = torch.Generator().manual_seed(2)
    first = torch.rand(2000, 150, generator=generator) < 0.02
    codes = 2 + torch.cat((first, first), 1).long()
    columns = [Column("category", (0, 0, 2000 - int(ones), int(ones))) for ones in (codes - 2).sum(0)]
    none = torch.zeros(2000, 0)
    with seeded(1):
        made = DiscretePart(columns, context=0, hidden=(32,))
    before = -made.terms(codes, none, none, none).sum(-1).mean().item()
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.003)
    for step in range(150):
        rows = slice(step * 200 % 2000, step * 200 % 2000 + 200)
        optimizer.zero_grad()
        loss = -made.terms(codes[rows], none[rows], none[rows], none[rows]).sum(-1).mean()
        loss.backward()
        optimizer.step()
        assert loss.item() < 1.1 * before, "never worse than the frequencies"
    assert loss.item() < 0.75 * before
