"""`/metrics` for Prometheus: everything that `core.figures` and `core.node_figures` name.

One loop over the tables of each: a figure that is added there is shown. Present values of a process that does
not live are left out, and so is what cannot be asked for in time.
"""

import asyncio
import inspect
import platform
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.requests import Request
from starlette.responses import Response

from sluice.api.native import NativeRoute
from sluice.api.operator import Operator
from sluice.core.figures import TABLES, Account, Figure, Ledger
from sluice.core.node_figures import FAMILIES, Counts, Family, Histogram, Readings

#: What begins every name.
PREFIX = "sluice_"

#: A part of the node that tells present values.
Read = Callable[[], Readings | Awaitable[Readings]]


class Metrics:
    """`began_at` is when the node did, in Unix seconds."""

    def __init__(
        self, ledger: Ledger, counts: Counts, reads: Sequence[Read], *, version: str, began_at: float
    ) -> None:
        self._ledger, self._counts, self._reads = ledger, counts, tuple(reads)
        self._version, self._began_at = version, began_at

    async def page(self, accepted: str = "") -> tuple[bytes, str]:
        """All metrics now, and their media type: OpenMetrics where that is `accepted`."""
        readings: dict[Family, Mapping[tuple[str, ...], float]] = {}
        for told in await asyncio.gather(*(_read(read) for read in self._reads)):
            readings |= told
        registry = CollectorRegistry()
        registry.register(_Collected(self._all(readings)))
        encode, media_type = choose_encoder(accepted)
        return encode(registry), media_type

    def _all(self, readings: Readings) -> Iterator[Metric]:
        yield from _of_processes(self._ledger.accounts())
        for family in FAMILIES:
            yield _of_node(family, self._counts, readings)
        yield InfoMetricFamily(
            f"{PREFIX}build",
            "What runs",
            {"version": self._version, "python": platform.python_version()},
        )
        yield GaugeMetricFamily(
            f"{PREFIX}start_time_seconds", "When the node began, in Unix seconds", self._began_at
        )


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        return self._metrics


async def _read(read: Read) -> Readings:
    told = read()
    return await told if inspect.isawaitable(told) else told


# --- processes ----------------------------------------------------------------------------------------------


def _of_processes(accounts: Sequence[Account]) -> Iterator[Metric]:
    """One metric for each figure, whichever kinds of processes have it."""
    kinds: dict[Figure, set[str]] = {}
    for kind, table in TABLES.items():
        for figure in table:
            kinds.setdefault(figure, set()).add(kind)
    for figure, having in kinds.items():
        yield _of_figure(figure, [account for account in accounts if account.kind in having])


def _of_figure(figure: Figure, accounts: Iterable[Account]) -> Metric:
    labels = ["process", *filter(None, [figure.label])]
    make = CounterMetricFamily if figure.total else GaugeMetricFamily
    metric = make(PREFIX + figure.name, figure.help, labels=labels)
    # A total without a label is shown from the start, so that its first increase is seen as one.
    first = {"": 0.0} if figure.total and not figure.label else {}
    for account in accounts:
        values = account.totals if figure.total else account.gauges
        for label, value in (first | dict(values.get(figure.name, {}))).items():
            metric.add_metric([account.process, *([label] if figure.label else [])], value)
    return metric


# --- the node itself ----------------------------------------------------------------------------------------


def _of_node(family: Family, counts: Counts, readings: Readings) -> Metric:
    name, labels = PREFIX + family.name, list(family.labels)
    if family.buckets:
        histograms = HistogramMetricFamily(name, family.help, labels=labels)
        for of, histogram in counts.histograms(family).items():
            histograms.add_metric(list(of), _buckets(histogram), histogram.sum)
        return histograms
    make = CounterMetricFamily if family.total else GaugeMetricFamily
    metric = make(name, family.help, labels=labels)
    present = counts.totals(family) if family.total else _present(family, readings)
    for of, value in present.items():
        metric.add_metric(list(of), value)
    return metric


def _present(family: Family, readings: Readings) -> Mapping[tuple[str, ...], float]:
    if family not in readings:
        return {}
    return dict.fromkeys(family.seeds, 0.0) | dict(readings[family])


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Upper bounds, and how many values are not above."""
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))


# --- routes -------------------------------------------------------------------------------------------------


def routes(metrics: Metrics, operator: Operator | None = None) -> APIRouter:
    """``/metrics``, for the operator alone if one is given. To be included in an application without a
    prefix."""
    api = APIRouter(route_class=NativeRoute, dependencies=operator.only if operator else [])

    @api.get("/metrics", include_in_schema=False)
    async def show(request: Request) -> Response:
        page, media_type = await metrics.page(request.headers.get("accept", ""))
        return Response(page, headers={"Content-Type": media_type, "Cache-Control": "no-store"})

    return api
