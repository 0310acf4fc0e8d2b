"""What reading the curves of a study costs: through Prometheus, and by scraping.

python bench/metrics.py [--trials 1000] [--samples 24] [--scraped 200]

Starts a Prometheus on loopback (scripts/install-prometheus) over samples that promtool writes, as many as a study of that many trials
leaves in a window of --samples scrapes. Prints milliseconds: what one tick waits for the answer, and what it computes itself (CPU).
"""

import argparse
import asyncio
import itertools
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from adapters.metrics_cluster.real_prometheus import TestPrometheus, tool
from adapters.metrics_cluster.worlds import a_cluster_study, running_attempts
from seatrial.adapters.local.clock import SystemClock
from seatrial.adapters.metrics.fetching import Fetcher
from seatrial.adapters.metrics.joining import join_scrapes
from seatrial.adapters.metrics.prometheus import Polling, PrometheusSource
from seatrial.adapters.metrics.prometheus_api import PrometheusApi
from seatrial.adapters.metrics.scrape import Pace, ScrapeSource
from seatrial.adapters.metrics.targets import Target
from seatrial.api.study import Study
from seatrial.decide.attempts import Attempt
from seatrial.decide.curves import Curves
from seatrial.ports import MetricSource

INTERVAL = 15


def openmetrics(trials: int, samples: int, end: int) -> Iterator[str]:
    """The samples of trials with one metric and three rungs, one scrape every 15 s until *end*."""
    for name, labels, value in (
        ("seatrial_trial_step", "", lambda i: i),
        ("seatrial_trial_metric", ',metric="loss"', lambda i: 1 / (i + 1)),
        ("seatrial_trial_rung_metric", ',metric="loss",step="1"', lambda i: 0.5 if i >= 1 else None),
        ("seatrial_trial_rung_metric", ',metric="loss",step="3"', lambda i: 0.25 if i >= 3 else None),
        ("seatrial_trial_rung_metric", ',metric="loss",step="9"', lambda i: 0.1 if i >= 9 else None),
    ):
        if labels.endswith('"1"') or "rung" not in name:
            yield f"# TYPE {name} gauge\n"
        for trial in range(trials):
            who = f'namespace="lab",study_uid="u-1",study="s",trial="s-{trial}",attempt="0"{labels}'
            for i in range(samples):
                number = value(i)
                if number is not None:
                    yield f"{name}{{{who}}} {number} {end - (samples - 1 - i) * INTERVAL}\n"
    yield "# EOF\n"


async def timed(
    source: MetricSource, study: Study, attempts: Mapping[str, Attempt]
) -> tuple[float, float, Mapping[str, Curves]]:
    """Read once; return milliseconds of waiting and of CPU, and the curves."""
    wall, cpu = time.perf_counter(), time.process_time()
    curves = await source.read(study, attempts)
    return (time.perf_counter() - wall) * 1000, (time.process_time() - cpu) * 1000, curves


async def measure_prometheus(server: TestPrometheus, trials: int, samples: int, end: int) -> None:
    started = datetime.fromtimestamp(end - samples * INTERVAL, UTC)
    study = a_cluster_study(server.url, started=started)
    attempts = running_attempts(*(f"s-{i}" for i in range(trials)), started=started)
    fetcher = Fetcher()
    api = PrometheusApi(server.url, fetcher)
    window = f'{{__name__=~"seatrial_trial_(metric|step|rung_metric)",study_uid="u-1"}}[{samples * INTERVAL + 120}s]'
    asked, joined, count = [], [], 0
    for _ in range(5):
        at = time.perf_counter()
        found = await api.query(window)
        asked.append((time.perf_counter() - at) * 1000)
        at = time.perf_counter()
        scrapes = list(join_scrapes(found.series, lambda *_: float("-inf")))
        joined.append((time.perf_counter() - at) * 1000)
        count = sum(len(one.samples) for one in found.series)
    print(
        f"one question, {trials} trials x {samples} scrapes: {len(found.series)} series, {count} samples, {len(scrapes)} scrapes"
    )
    print(f"  ask and parse JSON   {median(asked):8.1f} ms")
    print(f"  join to scrapes      {median(joined):8.1f} ms")
    polling = Polling(every_seconds=0.0, patience_seconds=60.0, scrape_seconds=INTERVAL)
    source = PrometheusSource(fetcher=fetcher, clock=SystemClock(), polling=polling)
    wall, cpu, curves = await timed(source, study, attempts)
    missing = sum(1 for found in curves.values() if not found)
    print(
        f"first tick of a restarted operator {wall:8.1f} ms, {cpu:.1f} ms of CPU; trials without a curve: {missing}; {source.degraded()}"
    )
    ticks = [await timed(source, study, attempts) for _ in range(9)]
    print(
        f"every later tick                   {median(t[0] for t in ticks):8.1f} ms, {median(t[1] for t in ticks):.1f} ms of CPU"
    )
    await source.close()
    await fetcher.close()


class _Targets:
    def __init__(self, url: str, trials: int) -> None:
        self._targets = [Target(trial=f"s-{i}", attempt=0, url=url) for i in range(trials)]

    def find(self, study: Study) -> list[Target]:  # noqa: ARG002 - the port's signature
        return self._targets


def serve_trials(trials: int, port: Connection) -> None:
    """Serve one text for all trials; its step moves on when all have been asked. Runs in a process of its own."""
    asked = itertools.count()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            step = next(asked) // trials + 1
            lines = [f"seatrial_trial_step {step}", f'seatrial_trial_metric{{metric="loss"}} {1 / step}']
            lines += [
                f'seatrial_trial_rung_metric{{metric="loss",step="{rung}"}} 0.5' for rung in (1, 3, 9) if rung <= step
            ]
            body = ("\n".join(lines) + "\n").encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


async def measure_scrape(trials: int) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve_trials, args=(trials, theirs), daemon=True)
    server.start()
    fetcher = Fetcher()
    pace = Pace(fastest_seconds=0.0, slowest_seconds=0.0, per_second=1e9, patience_seconds=60.0)
    url = f"http://127.0.0.1:{ours.recv()}/metrics"
    source = ScrapeSource(targets=_Targets(url, trials), fetcher=fetcher, clock=SystemClock(), pace=pace)
    study = a_cluster_study(metrics={"source": "scrape"})
    attempts = running_attempts(*(f"s-{i}" for i in range(trials)), started=datetime.now(UTC) - timedelta(seconds=5))
    ticks = [await timed(source, study, attempts) for _ in range(7)]
    print(
        f"scraping {trials} trials, each once: {median(t[0] for t in ticks[1:]):8.1f} ms a tick, {median(t[1] for t in ticks[1:]):.1f} ms of CPU"
    )
    await source.close()
    await fetcher.close()
    server.terminate()
    server.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=24)
    parser.add_argument("--scraped", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        end = int(time.time()) - 5
        (folder / "samples.txt").write_text("".join(openmetrics(arguments.trials, arguments.samples, end)))
        made = [
            tool("promtool"),
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            str(folder / "samples.txt"),
            str(folder / "tsdb"),
        ]
        subprocess.run(made, check=True, capture_output=True)
        server = TestPrometheus(folder)
        server.start()
        try:
            asyncio.run(measure_prometheus(server, arguments.trials, arguments.samples, end))
        finally:
            server.kill()
    asyncio.run(measure_scrape(arguments.scraped))


if __name__ == "__main__":
    main()
