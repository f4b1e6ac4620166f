"""Memory that is used again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from flowguard.density import maf
from flowguard.density.scratch import LARGEST, scratch


def test_room_of_another_name_type_thread_or_mode_is_other_memory() -> None:
    like = torch.zeros(0)
    first = scratch("one", like, 4)
    others = [scratch("two", like, 4), scratch("one", like.double(), 4)]
    with torch.inference_mode():
        others.append(scratch("one", like, 4))
    with ThreadPoolExecutor(1) as pool:
        others.append(pool.submit(scratch, "one", like, 4).result())
    assert first.data_ptr() not in {other.data_ptr() for other in others}
    assert scratch("one", like, 2, 2).data_ptr() == first.data_ptr()


def test_large_room_is_not_kept() -> None:
    like = torch.zeros(0, dtype=torch.uint8)
    scratch("large", like, LARGEST + 1)
    assert scratch("large", like, 1).numel() == 1


def test_flows_scored_in_several_threads_do_not_disturb_each_other() -> None:
    flow = maf(4, hidden=(64,), layers=2).eval()
    batches = [torch.randn(500, 4) for _ in range(8)]

    def scored(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.stack([flow.log_prob(x) for _ in range(5)])

    with ThreadPoolExecutor(4) as pool:
        for found, x in zip(pool.map(scored, batches), batches, strict=True):
            assert torch.equal(found, scored(x))
