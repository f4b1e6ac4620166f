from __future__ import annotations

import numpy as np
import pyarrow as pa

from flowguard.detector.sample import MOST, Sample
from flowguard.encoding import Encoder, FeatureSettings


def test_a_sample_is_bounded_evenly_spread_and_the_same_however_the_stream_is_cut() -> None:
    batch = pa.record_batch({"x": np.arange(5 * MOST, dtype=float)})
    encoder = Encoder.fit({"x": FeatureSettings(front="standard")}, {}, [batch], seed=0)
    whole, cut = Sample(), Sample()
    whole.add(encoder.encode(batch))
    for start in range(0, len(batch), 777):
        cut.add(encoder.encode(batch.slice(start, 777)))
    assert whole.inputs is not None
    assert cut.inputs is not None
    kept = encoder.decode("x", whole.inputs.x[:, 0].numpy())
    assert MOST / 2 <= len(kept) <= MOST
    np.testing.assert_allclose(np.diff(kept), kept[1] - kept[0])
    np.testing.assert_array_equal(whole.inputs.x.numpy(), cut.inputs.x.numpy())
    assert Sample().inputs is None
