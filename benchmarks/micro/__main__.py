"""The command: measure, and print a table."""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import socket
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.command import status_of
from benchmarks.micro import __doc__ as theory
from benchmarks.micro import calls, costs, floor
from benchmarks.micro.mesh import BareProxy, ProductProxy
from benchmarks.micro.stopwatch import Stopwatch
from benchmarks.proxies.route import FILTERING
from tcpmesh.config import collector

REPEATS = 4

ROWS: tuple[tuple[str, costs.Cost, Callable[[], float]], ...] = (
    ("one message passed on, µs", costs.message, floor.message),
    ("one connection, µs", costs.connection, floor.connection),
    ("bulk, ms per GB", costs.bulk, floor.bulk),
)


def lowest(*measures: Callable[[], float]) -> list[float]:
    """All in turns, several times; the least disturbed of each counts."""
    samples = [[measure() for measure in measures] for _ in range(REPEATS)]
    return [min(column) for column in zip(*samples, strict=True)]


def table(watch: Stopwatch) -> None:
    """Measure and print."""
    print(f"{'':34}{'tcpmesh':>10}{'relay only':>12}{'floor':>10}")
    for title, cost, bare in ROWS:

        def product(cost: costs.Cost = cost) -> float:
            return cost(ProductProxy, watch)

        def relay(cost: costs.Cost = cost) -> float:
            return cost(BareProxy, Stopwatch())

        ours, less, least = lowest(product, relay, bare)
        print(f"{title:34}{ours:10.2f}{less:12.2f}{least:10.2f}", flush=True)
    plain, *logged = lowest(*(partial(_through, name) for name in ("bulk", "text", "json")))
    for title, spent in zip(("as text", "as JSON"), logged, strict=True):
        print(f"{f'one line of an access log {title}, µs':34}{spent - plain:10.2f}", flush=True)
    plain, filtered = lowest(*(partial(_through, name) for name in FILTERING))
    print(f"{'rbac and local_ratelimit, µs':34}{filtered - plain:10.2f}", flush=True)
    ours, least = costs.idle(ProductProxy), costs.idle(BareProxy)
    print(f"{'one idle connection, bytes':34}{ours:10.0f}{least:12.0f}")
    ours, least = costs.garbage(ProductProxy), costs.garbage(BareProxy)
    print(f"{'garbage per connection, objects':34}{ours:10.2f}{least:12.2f}")


def _through(listener: str) -> float:
    """Microseconds of a connection of this listener, with the thread that writes logs."""
    return costs.connection(lambda: ProductProxy(listener), Stopwatch(clock=time.process_time_ns))


def main() -> int:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.micro", description=(theory or "").partition("\n")[0]
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="also print where tcpmesh spends it (its figures suffer)",
    )
    parser.add_argument(
        "--calls",
        action="store_true",
        help="print instead how many of its functions tcpmesh calls for each",
    )
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    socket.setdefaulttimeout(5)
    if options.calls:
        for what, counted in (("message", calls.of_message), ("connection", calls.of_connection)):
            print(f"one {what}, {calls.table(counted())}")
        return 0
    gc.collect()
    gc.freeze()
    collector.set_thresholds()
    table(Stopwatch(profile))
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    return 0


if __name__ == "__main__":
    sys.exit(status_of(main))
