"""Reports as a run over flights would make them, small and the same every time."""

from __future__ import annotations

import dataclasses
import datetime

import numpy as np

from flowguard.explain.reason import Reason
from flowguard.reports import (
    BatchReport,
    BatchSummary,
    FlaggedRecord,
    RateLine,
    RunReport,
    href,
    score_histogram,
)


def reason(column: str = "air_time", share: float = 71.0, words: str = "", **more: object) -> Reason:
    given = {"observed": 65.0, "observed_text": "65 min", "low": 107.2, "high": 121.4}
    said = words or f"{column} 65 min; 107 to 121 expected"
    return Reason("aa11", 1, column, share, share + 4.0, words=said, **(given | more))  # type: ignore[arg-type]


def record(**more: object) -> FlaggedRecord:
    given: dict[str, object] = {
        "record_id": "aa11",
        "key": {"year": 2013, "month": 5, "day": 25, "carrier": "DL", "flight": 1499, "origin": "LGA"},
        "log_likelihood": -87.7,
        "score": 87.7,
        "p_value": 0.000024,
        "reasons": [reason(), reason("dep_delay", 0.4, "dep_delay 9 min; within the expected -8 to 35")],
        "values": {"dest": "ATL", "distance": 762.0, "air_time": 65.0, "tailnum": None},
    }
    return FlaggedRecord(**(given | more))  # type: ignore[arg-type]


def batch_report(**more: object) -> BatchReport:
    rng = np.random.default_rng(0)
    histogram = score_histogram(np.append(rng.gamma(2.0, 1.5, 860), 87.7), rng.gamma(2.0, 1.4, 9000), threshold=12.5)
    given: dict[str, object] = {
        "pipeline": "flights",
        "batch": "2013-05-25",
        "version": "3",
        "digest": "9f3ac1d2b4e5f6a7b8c9",
        "scored_at": "2026-11-23 08:09",
        "read": 863,
        "scored": 861,
        "quarantined": 2,
        "flagged": 1,
        "policy": "false alarm rate 0.1 %",
        "asked_rate": 0.001,
        "threshold": 12.5,
        "histogram": histogram,
        "quarantine": {"arr_delay is infinite": 2},
        "records": [record()],
        "notices": ["The thunderstorms of the day are not an error."],
        "run_href": "../index.html",
        "previous": ("2013-05-24", "2013-05-24.html"),
        "following": ("2013-05-26", "2013-05-26.html"),
    }
    return BatchReport(**(given | more))  # type: ignore[arg-type]


def summaries(n: int = 30, *, first: str = "2013-06-01") -> list[BatchSummary]:
    rng = np.random.default_rng(1)
    days = [datetime.date.fromisoformat(first) + datetime.timedelta(i) for i in range(n)]
    return [
        BatchSummary(f"{d}", 900, 899, 1, int(rng.poisson(2)), 9.0, 7.0, 13.0, href(f"batches/{d}.html")) for d in days
    ]


def run_report(**more: object) -> RunReport:
    batches = summaries()
    given: dict[str, object] = {
        "pipeline": "flights",
        "versions": ["3"],
        "period": "June 2013",
        "made_at": "2026-11-23 08:10",
        "policy": "false alarm rate 0.1 %",
        "asked_rate": 0.001,
        "threshold": 12.5,
        "batches": batches,
        "overall": RateLine("June", 26970, 62, 0.001, 0.0023, 0.0002, 30),
        "holdout": RateLine("Hold-out", 27102, 31, 0.001, 0.00114, 0.00024, 31),
        "groups": [RateLine("June", 26970, 62, 0.001, 0.0023, 0.0002, 30)],
        "strangest": [dataclasses.replace(record(), batch="2013-05-25", href="batches/2013-05-25.html")],
        "notices": ["June ran at 2.3 times the asked rate."],
        "digest": "9f3ac1d2b4e5f6a7b8c9",
    }
    return RunReport(**(given | more))  # type: ignore[arg-type]
