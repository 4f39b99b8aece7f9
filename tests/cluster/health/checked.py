"""A cluster with health checks on a memory network, and upstreams that answer as they are told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tcpmesh.net.timer_wheel import GAP
from tcpmesh.testing.mesh import address_of
from tcpmesh.testing.recording import OneWayRecordingProtocol
from tests.mesh import MeshTestCase

HOST = "127.0.0.2:80"
TIMES = (
    "timeout: 1s, interval: 10s, no_traffic_interval: 10s, unhealthy_threshold: 1, "
    "healthy_threshold: 1, "
    "always_log_health_check_failures: true"
)


class Answers:
    """Listens at an address; each connection answers what it is sent with what `answer` makes of
    it.
    """

    def __init__(
        self, test: CheckedTestCase, address: str, answer: Callable[[bytes], bytes]
    ) -> None:
        self.answer = answer
        self.lines: list[OneWayRecordingProtocol] = []
        server = test.mesh.upstream(address)
        server.make = self._connection

    def _connection(self) -> OneWayRecordingProtocol:
        line = OneWayRecordingProtocol()
        self.lines.append(line)

        def answer() -> None:
            asked = bytes(line.received[line.asked :])  # type: ignore[attr-defined]
            line.asked = len(line.received)  # type: ignore[attr-defined]
            reply = self.answer(asked)
            if reply:
                line.transport.write(reply)

        line.asked = 0  # type: ignore[attr-defined]
        line.on_data = answer
        return line

    @property
    def heard(self) -> list[bytes]:
        """What came over each connection."""
        return [bytes(line.received) for line in self.lines]


class CheckedTestCase(MeshTestCase):
    """A test of a cluster c with one host and one health check."""

    def check(self, kind: str, more: str = "", host: str = HOST, cluster: str = "") -> None:
        """Begin to check the host, and let the first check come to its result, if there is one
        without waiting.
        """
        self.mesh.add_cluster(
            "c",
            host,
            more=f"health_checks: [{{{TIMES}, {kind}{', ' if more else ''}{more}}}]\n{cluster}",
        )
        self.mesh.network.advance(GAP)

    def answers(
        self, answer: Callable[[bytes], bytes] = lambda asked: b"", address: str = HOST
    ) -> Answers:
        """An upstream."""
        return Answers(self, address, answer)

    def again(self) -> None:
        """The time for the next check, and the millisecond that calls are told apart by."""
        self.mesh.network.advance(10.001)

    def health(self) -> str:
        """The flags of the host."""
        return "/".join(self.host().health_flags)

    def host(self) -> Any:
        """The host as the admin interface shows it."""
        (host,) = self.mesh.clusters.statuses()[0].hosts
        return host

    def counted(self) -> tuple[int, int, int]:
        """Successes, failures, and those of the network among them."""
        stats = self.mesh.stats("cluster.c.health_check.")
        return stats["success"], stats["failure"], stats["network_failure"]

    def silence(self, address: str = HOST) -> None:
        """Nobody answers at this address."""
        self.mesh.network.silent.add(address_of(address))
