"""Hosts that come and go before policies whose tables take long to build."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from tests.attacks.attack import MIB, Attack, Bootstrap, Limits, Scene, Target
from tests.attacks.checks_http1 import answered, silent
from tests.attacks.peers import Server

TABLE = Limits(wait=100, busy_wait=100, peak=768 * MIB, kept=384 * MIB)
"""A table of eight million places is 96 MiB, and there are two while the new one is built."""


def changing(
    policy: dict[str, Any], size: int = 4
) -> Callable[[ExitStack, Bootstrap], Iterator[Attack]]:
    """A scene with a cluster of a policy, whose hosts fail and recover."""

    def scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
        servers = [Server(stack, answered) for _ in range(size)]
        often = dict.fromkeys(("interval", "no_traffic_interval", "unhealthy_interval"), "0.2s")
        check = {
            "timeout": "0.2s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            **often,
            "http_health_check": {"path": "/", "host": "x"},
        }
        bootstrap.add_cluster(
            "many", [each.port for each in servers], health_checks=[check], **policy
        )
        bootstrap.add_listener("many", "many")

        def strike(target: Target, seconds: float) -> str:
            asked = sum(server.accepted for server in servers)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for serve in (silent, answered):
                    for server in servers[::2]:
                        server.serve = serve
                        server.hang_up()
                    time.sleep(2.5)  # health reaches the policy once a second at most
            return "" if sum(each.accepted for each in servers) > asked else "no host was checked"

        yield Attack("flap", "Half of the hosts fail and recover.", strike, 10, TABLE)

    return scene


SCENES: dict[str, Scene] = {
    "ring": changing(
        {
            "lb_policy": "RING_HASH",
            "ring_hash_lb_config": {"minimum_ring_size": 8 << 20, "maximum_ring_size": 8 << 20},
        }
    ),
    "maglev": changing({"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 5_000_011}}),
}
