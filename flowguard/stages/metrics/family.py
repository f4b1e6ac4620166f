"""Families of metrics: a name by Prometheus's conventions, a sentence, and samples by label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

Sample = tuple[Sequence[str], float | int | bool | None]


def gauge(name: str, words: str, samples: Iterable[Sample], *, by: Sequence[str] = ("pipeline",)) -> Metric:
    """A number that goes up and down; a sample of None is left out.

    >>> family = gauge("queue", "Records.", [(["meters"], 3), (["orders"], None)])
    >>> [(one.name, one.labels, one.value) for one in family.samples]
    [('flowguard_queue', {'pipeline': 'meters'}, 3.0)]
    """
    return _filled(GaugeMetricFamily(f"flowguard_{name}", words, labels=list(by)), samples)


def counter(name: str, words: str, samples: Iterable[Sample], *, by: Sequence[str] = ("pipeline",)) -> Metric:
    """A number that only goes up, told with `_total` at its end."""
    return _filled(CounterMetricFamily(f"flowguard_{name}", words, labels=list(by)), samples)


def seconds(moment: datetime | date | str | None) -> float | None:
    """A moment, or the beginning of a day in UTC, as Prometheus writes it; None for none.

    >>> seconds("1970-01-02")
    86400.0
    """
    if moment is None or moment == "":
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _filled(family: CounterMetricFamily | GaugeMetricFamily, samples: Iterable[Sample]) -> Metric:
    for labels, value in samples:
        if value is not None:
            family.add_metric(list(labels), float(value))
    return family
