"""Draws the pictures of this folder anew, from simulations (needs `tcpmesh[docs]`)::

    .venv/bin/python docs/balancing/plots.py

Dots are picks of tcpmesh's own load balancers, counted in `tcpmesh.testing.balance`; lines are what
Envoy documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from tcpmesh.testing.balance import Balance, PickContext, SimHost

HERE = Path(__file__).parent
PICKS = 20_000
HOSTS = 50
MIX = 0x9E3779B97F4A7C15
"""An odd number whose multiples are spread over 64 bits: stands in for hashes of addresses."""

NO_PANIC = "common_lb_config: {healthy_panic_threshold: {value: 0}}"


@contextmanager
def picture(name: str, x: str, y: str) -> Iterator[Any]:
    """Axes to draw on; the result is an SVG of this name, the same each time."""
    mpl.rcParams.update({"svg.hashsalt": "tcpmesh", "svg.fonttype": "none", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    yield axes
    axes.legend(frameon=False)
    figure.savefig(HERE / f"{name}.svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def partly_healthy(healthy: int) -> list[SimHost]:
    """Hosts of which so many are healthy."""
    return [
        SimHost(f"h{number}", status="HEALTHY" if number < healthy else "UNHEALTHY")
        for number in range(HOSTS)
    ]


def weights() -> None:
    """What weights do in each policy."""
    hosts = [SimHost(f"weight {weight}", weight=weight) for weight in (1, 2, 3, 6)]
    names = [host.name for host in hosts]
    with picture("weights", "", "share of 12,000 picks") as axes:
        for place, policy in enumerate(
            ("ROUND_ROBIN", "LEAST_REQUEST", "RING_HASH", "MAGLEV", "RANDOM")
        ):
            counted = Balance(f"lb_policy: {policy}", hosts).picks(
                12_000, lambda index: index * MIX % 2**64
            )
            positions = [number + 0.15 * (place - 2) for number in range(len(names))]
            axes.bar(positions, [counted[name] / 12_000 for name in names], 0.14, label=policy)
        axes.set_xticks(range(len(names)), names)
        for number, host in enumerate(hosts):
            axes.hlines(host.weight / 12, number - 0.45, number + 0.45, "black", lw=1)


def overprovisioning() -> None:
    """How much a priority keeps while its hosts fail."""
    with picture(
        "overprovisioning", "healthy hosts of priority 0, %", "share of priority 0, %"
    ) as axes:
        for factor in (100, 140, 200):
            seen = []
            for healthy in range(0, HOSTS + 1, 2):
                hosts = [*partly_healthy(healthy), SimHost("next", priority=1)]
                balance = Balance(NO_PANIC, hosts, overprovisioning_factor=factor)
                seen.append(100 - 100 * balance.picks(PICKS // 4)["next"] / (PICKS // 4))
            (dots,) = axes.plot(range(0, 101, 4), seen, ".", label=f"factor {factor / 100:g}")
            axes.plot(
                range(101),
                [min(100, factor * percent // 100) for percent in range(101)],
                lw=1,
                color=dots.get_color(),
            )


def panic() -> None:
    """How much goes to unhealthy hosts."""
    with picture("panic", "healthy hosts, %", "picks of unhealthy hosts, %") as axes:
        for threshold in (0, 50, 80):
            seen = []
            for healthy in range(0, HOSTS + 1, 2):
                cluster = f"common_lb_config: {{healthy_panic_threshold: {{value: {threshold}}}}}"
                counted = Balance(cluster, partly_healthy(healthy)).picks(1000)
                seen.append(sum(counted[f"h{number}"] for number in range(healthy, HOSTS)) / 10)
            (dots,) = axes.plot(
                range(0, 101, 4), seen, ".", label=f"healthy_panic_threshold {threshold}"
            )
            # Overprovisioned, 72 % are as good as all of them: no panic whatever the threshold.
            panicking = [
                percent < threshold and 140 * percent // 100 < 100 for percent in range(101)
            ]
            expected = [100 - percent if panics else 0 for percent, panics in enumerate(panicking)]
            axes.plot(range(101), expected, lw=1, color=dots.get_color())


def moves() -> None:
    """How many clients get another host when one leaves."""
    clients = [PickContext(number * MIX % 2**64) for number in range(4000)]
    sizes = (2, 3, 4, 6, 8, 12, 16, 24, 32)
    with picture("moves", "hosts before one leaves", "clients that move, %") as axes:
        for policy in ("RING_HASH", "MAGLEV"):
            moved = []
            for size in sizes:
                balance = Balance(
                    f"lb_policy: {policy}", [SimHost(f"host {number}") for number in range(size)]
                )
                before = [balance.pick(client) for client in clients]
                balance.fail("host 0")
                changed = sum(
                    balance.pick(client) != name
                    for client, name in zip(clients, before, strict=True)
                )
                moved.append(100 * changed / len(clients))
            axes.plot(sizes, moved, "o-", ms=3, label=policy)
        axes.plot(
            sizes, [100 / size for size in sizes], "k--", lw=1, label="those of the host that left"
        )
        axes.plot(
            sizes, [100 - 100 / size for size in sizes], ":", label="hash modulo number of hosts"
        )


if __name__ == "__main__":
    for draw in (weights, overprovisioning, panic, moves):
        draw()
