from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowguard.encoding import Encoder, FeatureSettings
from flowguard.errors import InputError


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=2, max_size=300),
    st.lists(st.tuples(st.floats(allow_infinity=False), st.integers(10, 40)), max_size=2),
    st.sampled_from(["standard", "robust", "quantile"]),
    st.sampled_from(["number", "integer", "category"]),
)
@settings(max_examples=120, deadline=None)
def test_any_column_of_floats_encodes_without_nan(
    values: list[float], repeated: list[tuple[float, int]], front: str, kind: str
) -> None:
    raw = np.array(values + [value for value, times in repeated for _ in range(times)])
    finite = np.isfinite(raw)
    batch = pa.RecordBatch.from_pydict({"x": raw})
    if not finite.any():
        with pytest.raises(InputError):
            Encoder.fit({"x": FeatureSettings(kind, front=front)}, {}, [batch], seed=0)
        return
    encoder = Encoder.fit({"x": FeatureSettings(kind, front=front)}, {}, [batch], seed=0)
    feature = encoder.features[0]
    for dither in (None, np.random.default_rng(0)):
        encoded = encoder.encode(batch, dither=dither)
        for name in ("x", "log_det", "lower", "log_width"):
            assert np.isfinite(getattr(encoded, name)).all(), name
        assert [reason is not None for reason in encoded.refused] == np.isinf(raw).tolist()
        codes = encoded.codes[:, 0]
        assert np.array_equal(codes == 1, ~finite)
        # The sample holds every row here, so the counts are no estimates.
        counts = np.bincount(codes[~np.isinf(raw)], minlength=len(feature.counts))
        assert feature.kind != "number" or not feature.atoms or counts[0] > 0
        assert tuple(counts.tolist()) == feature.counts
        for code in set(codes.tolist()) - {0, 1}:
            if feature.kind != "integer":
                assert (raw[codes == code] == encoder.level_of("x", code)).all()
    if feature.kind == "number":
        usual = codes == 0
        y = encoder.encode(batch).x[usual, 0]
        assert (np.diff(y[np.argsort(raw[usual])]) >= -1e-12).all()
    assert json.loads(json.dumps(encoder.to_dict())) == encoder.to_dict()


def mixed_table(metres: np.ndarray, unit: float) -> pa.RecordBatch:
    """Columns of one quantity, in a unit of which a metre has `unit`: what a sensor in that unit would have said."""
    whole = np.rint(metres * 1000)
    read = whole / 1000 if unit == 1.0 else whole
    zeros = np.where(np.arange(len(metres)) % 3 == 0, 0.0, metres * unit)
    odd = np.append(read[:-1], (whole[-1] + 0.4) / (1000 / unit))
    return pa.RecordBatch.from_pydict({"smooth": metres * unit, "lattice": read, "zeros": zeros, "points": odd})


@pytest.mark.parametrize("front", ["standard", "robust", "quantile"])
def test_a_change_of_units_changes_the_log_det_alone(front: str) -> None:
    metres = np.random.default_rng(8).normal(5, 0.2, 4000)
    kinds = {name: FeatureSettings(front=front) for name in ("smooth", "lattice", "zeros")}
    kinds["points"] = FeatureSettings("integer", front=front)
    batches = [mixed_table(metres, unit) for unit in (1.0, 1000.0)]
    encoders = [Encoder.fit(kinds, {}, [batch], seed=0) for batch in batches]
    for dithered in (False, True):
        m, mm = (
            encoder.encode(batch, dither=np.random.default_rng(1) if dithered else None)
            for encoder, batch in zip(encoders, batches, strict=True)
        )
        assert np.array_equal(m.codes, mm.codes)
        assert m.codes[:, 2].sum() == 2 * 1334
        assert m.codes[:, 3].tolist() == [0] * 3999 + [2]
        for name in ("x", "lower", "log_width"):
            assert np.allclose(getattr(m, name), getattr(mm, name), rtol=0, atol=1e-9), name
        apart = (m.log_det - mm.log_det)[m.observed]
        assert np.allclose(apart, np.log(1000.0), rtol=0, atol=1e-9)
        assert np.allclose(m.line, mm.line, rtol=0, atol=1e-9)
        assert np.allclose(m.log_stretch, mm.log_stretch, rtol=0, atol=1e-9)
    for one, other in zip(*(encoder.density_columns() for encoder in encoders), strict=True):
        scale = [[column.pop(name, 0.0) for name in ("origin", "spacing")] for column in (one, other)]
        assert one == other
        assert scale[0] == pytest.approx(scale[1], abs=1e-9)


@pytest.mark.parametrize("kind", ["number", "integer", "category"])
def test_an_infinite_number_of_any_kind_is_refused_and_held_as_missing(kind: str) -> None:
    batch = pa.RecordBatch.from_pydict({"x": [1.0, 2.0, 3.0, 4.0] * 30, "y": [1.0, 2.0, 3.0, 4.0] * 30})
    encoder = Encoder.fit({"x": FeatureSettings(kind)}, {}, [batch], seed=0)
    encoded = encoder.encode(pa.RecordBatch.from_pydict({"x": [1.0, float("inf"), -float("inf"), None]}))
    assert encoded.refused == [None, "x is infinite", "x is infinite", None]
    assert encoded.codes[1:, 0].tolist() == [1, 1, 1]
