"""For those who run the server: health, readiness and metrics."""

from collections import Counter
from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rlnas._version import __version__
from rlnas.service.models import Health
from rlnas.service.parts import Parts
from rlnas.service.problems import Problem
from rlnas.service.routes.searches import The

router = APIRouter(tags=["health"])

_TEXT = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/healthz")
def health() -> Health:
    """Say that the server answers."""
    return Health(status="ok", version=__version__)


@router.get("/readyz")
def ready(parts: The) -> Health:
    """Say that the server can begin searches and watches them."""
    parts.jobs.names()
    if parts.supervisor.in_trouble:
        detail = "not all searches can be looked after; the log of the server says why"
        raise Problem(503, "not-ready", detail)
    return Health(status="ready", version=__version__)


@router.get("/metrics", response_class=Response)
def metrics(parts: The) -> Response:
    """Return figures for Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Figures(parts))
    return Response(generate_latest(registry), media_type=_TEXT)


class _Figures(Collector):
    """The figures of a server, taken when they are asked for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        searches = self._parts.catalogue.searches()
        states = GaugeMetricFamily("rlnas_searches", "Searches by state.", labels=["state"])
        for state, count in sorted(Counter(each.state for each in searches).items()):
            states.add_metric([state], count)
        yield states
        at_work = [each for each in searches if each.state in ("searching", "retraining")]
        trials = GaugeMetricFamily("rlnas_trials", "Ended trials by search.", labels=["search"])
        best = GaugeMetricFamily("rlnas_best_reward", "Best reward so far.", labels=["search"])
        failed = GaugeMetricFamily("rlnas_failed_trials", "Failed trials.", labels=["search"])
        for each in at_work:
            trials.add_metric([each.name], each.trials)
            failed.add_metric([each.name], each.failed)
            if each.best_reward is not None:
                best.add_metric([each.name], each.best_reward)
        yield from (trials, failed, best)
        yield CounterMetricFamily(
            "rlnas_leases_granted", "Trials given to workers.", self._parts.desk.asked
        )
        yield CounterMetricFamily(
            "rlnas_outcomes_told", "Outcomes that workers told.", self._parts.desk.told
        )
        yield GaugeMetricFamily("rlnas_event_streams", "Who watches.", self._parts.streams)
