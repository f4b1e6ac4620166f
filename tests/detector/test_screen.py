"""The screen leaves out what does not belong, no more than it may, and copes with tables of any shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from flowguard import FlowDetector
from flowguard.density import Column, Inputs
from flowguard.detector import Columns, Engine, fit
from flowguard.detector.screen import SAMPLE, Screen
from flowguard.encoding import Encoder, FeatureSettings
from flowguard.training import Epoch, TrainingSettings


def records(line: np.ndarray, codes: np.ndarray | None = None) -> Inputs:
    """Values on the straight scale, all there unless `codes` say otherwise; the density's own axis is not looked at."""
    values = torch.from_numpy(np.asarray(line, dtype=np.float64))
    empty = values.new_zeros(len(values), 0)
    told = torch.zeros(values.shape, dtype=torch.long) if codes is None else torch.from_numpy(codes)
    return Inputs(values, told, empty, empty, empty, empty.long(), values)


def numbers(n: int, width: int) -> list[Column]:
    return [Column("number", (n, 0))] * width


def dropped(share: float, given: Inputs, columns: Sequence[Column]) -> np.ndarray:
    screen = Screen.fit([given], share, columns=columns)
    strange = screen.strangeness(given)
    assert np.isfinite(strange).all()
    assert np.isfinite(screen.limit)
    gone = ~screen.keep(given)
    assert gone.sum() <= math.floor(min(2 * share, 0.5) * len(given))
    return gone


def sample(n: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


# -- what it leaves out ------------------------------------------------------------------------------------------------


def test_a_planted_cluster_is_mostly_left_out_though_each_of_its_values_is_common() -> None:
    x = sample(1000, 3)
    x[:, 1] = x[:, 0] + 0.3 * x[:, 1]
    x[:50] = 0.2 * x[:50] + [1.5, -1.5, 0.0]
    gone = dropped(0.05, records(x), numbers(1000, 3))
    assert gone[:50].mean() > 0.95
    assert gone.sum() == 100


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2, 0.25])
def test_clean_data_loses_twice_the_share(share: float) -> None:
    assert dropped(share, records(sample(1000, 4)), numbers(1000, 4)).sum() == round(2000 * share)


@pytest.mark.parametrize("share", [0.3, 0.49])
def test_at_most_half_is_left_out(share: float) -> None:
    assert dropped(share, records(sample(101, 2)), numbers(101, 2)).sum() == 50


@pytest.mark.parametrize("share", [-0.1, 0.0, 0.5])
def test_another_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Screen.fit([records(sample(9, 2))], share, columns=numbers(9, 2))


def test_a_stream_without_records_is_refused() -> None:
    with pytest.raises(ValueError, match="no record"):
        Screen.fit([], 0.1, columns=numbers(9, 2))


def test_equal_records_share_their_fate_in_whatever_batch_they_come() -> None:
    x = np.tile(sample(7, 3), (30, 1))
    given = records(x)
    screen = Screen.fit([given], 0.1, columns=numbers(len(x), 3))
    kept = screen.keep(given)
    assert (kept.reshape(30, 7) == kept[:7]).all()
    one_by_one = [bool(screen.keep(given.take(slice(row, row + 1)))[0]) for row in range(len(x))]
    assert one_by_one == kept.tolist()


# -- tables of any shape -----------------------------------------------------------------------------------------------


def test_of_one_column_the_tails_go() -> None:
    x = sample(500, 1)
    gone = dropped(0.05, records(x), numbers(500, 1))
    assert gone.sum() == 50
    assert np.abs(x[gone]).min() > np.abs(x[~gone]).max() - 0.3


def test_constant_columns_say_nothing_until_a_record_departs_from_them() -> None:
    x = np.column_stack([sample(400, 1), np.full(400, 3.0), np.zeros(400)])
    assert (dropped(0.05, records(x), numbers(400, 3)) == dropped(0.05, records(x[:, :1]), numbers(400, 1))).all()
    x[7, 1] = 5.0
    assert dropped(0.05, records(x), numbers(400, 3))[7]
    assert not dropped(0.2, records(np.ones((50, 2))), numbers(50, 2)).any(), "all tie, and none goes"


def test_copies_of_a_column_do_no_harm() -> None:
    x = sample(300, 2)
    wide = np.column_stack([x, x[:, 0], 2 * x[:, 0] + 1, x.sum(axis=1)])
    wide[3, 2] += 3.0
    assert dropped(0.02, records(wide), numbers(300, 5))[3], "what is no copy stands out"


def test_more_columns_than_records_do_no_harm() -> None:
    x = sample(30, 80)
    x[4] += 4.0
    gone = dropped(0.05, records(x), numbers(30, 80))
    assert gone[4]
    assert gone.sum() == 3


def test_of_categories_alone_the_rare_levels_go() -> None:
    level = np.full((200, 2), 2)
    level[:5, 0] = 3
    columns = [Column("category", (0, 0, 195, 5)), Column("category", (0, 0, 200))]
    empty = np.zeros((200, 0))
    assert not dropped(0.01, records(empty, level), columns).any(), "all five tie, and only four may go"
    assert np.flatnonzero(dropped(0.0125, records(empty, level), columns)).tolist() == list(range(5))


def test_values_and_categories_are_weighed_together() -> None:
    codes = np.zeros((400, 2), dtype=np.int64)
    codes[:, 0] = 2
    codes[:4, 0] = 3
    x = sample(400, 1).clip(-2.5, 2.5)
    x[:4], x[4:8] = 0.0, 6.0
    columns = [Column("category", (0, 0, 396, 4)), Column("number", (400, 0))]
    gone = dropped(0.01, records(x, codes), columns)
    assert np.flatnonzero(gone).tolist() == list(range(8))


def test_missing_values_are_no_deviation_and_their_rarity_counts() -> None:
    x = sample(1000, 3)
    x[:, 0] += 50.0
    codes = (np.random.default_rng(1).random((1000, 3)) < 0.4).astype(np.int64)
    codes[:, 2] = 0
    codes[5] = [0, 0, 1]
    x[codes == 1] = 0.0
    counts = [(int((codes[:, i] == 0).sum()), int((codes[:, i] == 1).sum())) for i in range(3)]
    gone = dropped(0.05, records(x, codes), [Column("number", one) for one in counts])
    assert gone[5], "only this one lacks the third column"
    lacking = codes[:, 0] == 1
    assert abs(gone[lacking].mean() - gone[~lacking].mean()) < 0.1, "0 lies far from the first column's values"


def test_a_column_without_any_value_does_no_harm() -> None:
    codes = np.zeros((100, 2), dtype=np.int64)
    codes[:, 1] = 1
    assert dropped(0.05, records(sample(100, 2), codes), [Column("number", (100, 0)), Column("number", (0, 100))]).any()


@pytest.mark.parametrize("huge", [1e300, -1e300, math.inf, 1e12])
def test_absurd_values_stay_finite_and_go_first(huge: float) -> None:
    x = sample(200, 3)
    x[:6, 1] = huge
    x[9, 2] = 1e-300
    assert dropped(0.05, records(x), numbers(200, 3))[:6].all()


@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1e12, 1e140])
def test_the_units_do_not_matter(unit: float) -> None:
    x = sample(200, 2)
    plain = dropped(0.05, records(x), numbers(200, 2))
    assert (dropped(0.05, records(x * [unit, 1.0]), numbers(200, 2)) == plain).all()


def test_one_record_stays() -> None:
    assert not dropped(0.4, records(np.array([[3.0, -2.0]])), numbers(1, 2)).any()


# -- the stream --------------------------------------------------------------------------------------------------------


def test_the_screen_is_the_same_however_the_stream_is_cut() -> None:
    given = records(sample(3 * SAMPLE, 2))
    whole = Screen.fit([given], 0.05, columns=numbers(len(given), 2), rows=len(given))
    cuts = [given.take(slice(start, start + 7001)) for start in range(0, len(given), 7001)]
    again = Screen.fit(iter(cuts), 0.05, columns=numbers(len(given), 2), rows=len(given))
    assert (whole.limit, whole.precision.tolist()) == (again.limit, again.precision.tolist())
    assert np.mean(~whole.keep(given)) == pytest.approx(0.1, abs=0.01)


def test_encoded_records_are_read_as_they_come() -> None:
    rng = np.random.default_rng(0)
    value, whole = rng.normal(size=300), rng.poisson(40, 300)
    value[:3], whole[3:6] = 30.0, 400
    batch = pa.record_batch(
        {"town": rng.choice(["Ulm", "Bonn"], 300).tolist(), "visits": whole.tolist(), "wage": value.tolist()}
    )
    kinds = {"town": "category", "visits": "integer", "wage": "number"}
    settings = {name: FeatureSettings(kind=kind) for name, kind in kinds.items()}  # type: ignore[arg-type]
    encoder = Encoder.fit(settings, {}, [batch], seed=0)
    columns = [Column.from_dict(one) for one in encoder.density_columns()]
    encoded = encoder.encode(batch)
    gone = ~Screen.fit([encoded], 0.02, columns=columns).keep(encoded)
    assert gone[:6].all()
    assert gone.sum() <= 12


# -- the fit -----------------------------------------------------------------------------------------------------------


def dirty(rows: int, seed: int) -> np.ndarray:
    """Two columns that go together, and 5 % of the records where they go apart."""
    x = sample(rows, 2, seed)
    x[:, 1] = x[:, 0] + 0.3 * x[:, 1]
    few = rows // 20
    x[:few] = 0.1 * x[:few] + [1.5, -1.5]
    return x


def test_what_is_left_out_does_not_teach_the_flow_nor_the_kernels() -> None:
    x = dirty(800, 0)
    found: dict[float, FlowDetector] = {}
    for share in (0.0, 0.05):
        given = {"epochs": 8, "contamination": share}
        found[share] = FlowDetector(random_state=0, false_alarm_rate=0.05, training=given).fit(x)
    planted = np.array([[1.5, -1.5]])
    told, plain = found[0.05].log_likelihood(planted)[0], found[0.0].log_likelihood(planted)[0]
    assert told < plain - 3
    assert found[0.05].detector_.provenance["left_out"] == pytest.approx(0.1, abs=0.002)
    assert "left_out" not in found[0.0].detector_.provenance
    experts = found[0.05].detector_.density.experts
    assert experts is not None
    assert [kernel.centres for kernel in experts.every_kernel()] == pytest.approx([0.9 * 640] * 2, abs=12)


def fitted(x: np.ndarray, *, validation: int = 100, **options: Any) -> dict[str, torch.Tensor]:
    batch = pa.record_batch([pa.array(column) for column in x.T], names=["a", "b"])
    detector, _ = fit(
        lambda: [batch.slice(start, 100) for start in range(0, len(batch), 100)],
        lambda: [batch.slice(0, validation)],
        columns=Columns(dict.fromkeys("ab", FeatureSettings()), {}, dict.fromkeys("ab", "double")),
        architecture={"family": "maf", "layers": 1, "hidden": [8], "bins": 4, "kernel": 50},
        settings=TrainingSettings(epochs=4, batch_size=64, contamination=0.05),
        engine=Engine(tile=64),
        device=torch.device("cpu"),
        threads=1,
        **options,
    )
    return dict(detector.density.state_dict())


def test_a_fit_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    x = np.round(dirty(400, 1), 1)
    whole = fitted(x)

    class Killed(Exception):
        pass

    def kill(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise Killed

    again: dict[str, Any] = {"checkpoint": tmp_path / "checkpoint.pt", "run_key": "a"}
    with pytest.raises(Killed):
        fitted(x, on_epoch=kill, **again)
    resumed = fitted(x, **again)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_validation_records_that_would_all_go_stay() -> None:
    # The first 20 are the planted ones.
    assert fitted(dirty(400, 2), validation=5)
