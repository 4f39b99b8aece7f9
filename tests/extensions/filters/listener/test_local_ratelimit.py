"""The listener filter local_ratelimit before a tcp_proxy, on a network in memory."""

from __future__ import annotations

from envoy.extensions.filters.listener.local_ratelimit.v3 import local_ratelimit_pb2
from zope.interface.verify import verifyClass

from tcpmesh.extensions.filters.listener.local_ratelimit import LocalRateLimit
from tcpmesh.interfaces import IListenerFilter
from tests.extensions.filters.listener.inspected import HOST, ListenerFilterTestCase
from tests.mesh import FRONT, Mesh, tcp_proxy

TYPE = f"type.googleapis.com/{local_ratelimit_pb2.LocalRateLimit.DESCRIPTOR.full_name}"
BUCKET = "token_bucket: {max_tokens: 2, tokens_per_fill: 4, fill_interval: 2s}"


def filters(fields: str = BUCKET) -> str:
    """The field `listener_filters` with this filter."""
    config = f"'@type': {TYPE}, stat_prefix: p, {fields}"
    return f"listener_filters: [{{name: r, typed_config: {{{config}}}}}]"


class LocalRateLimitTests(ListenerFilterTestCase):
    """Who is served."""

    def serve_limited(self, fields: str = BUCKET) -> None:
        """A listener with the filter."""
        self.mesh.add_listener("l", FRONT, tcp_proxy(), filters(fields))
        self.mesh.listeners.start()

    def served(self, clients: int) -> list[bool]:
        """Whether each of so many clients is."""
        made = [self.mesh.connect() for _ in range(clients)]
        return [not client.ended for client in made]

    def limited(self) -> int:
        """How many were too many."""
        return self.mesh.stat("listener_local_ratelimit.p.rate_limited")

    def test_interface(self) -> None:
        """It is a listener filter."""
        verifyClass(IListenerFilter, LocalRateLimit)

    def test_limit(self) -> None:
        """As many clients are served as there are tokens, which come back evenly; the others are
        closed, and were never connections of the listener.
        """
        self.serve_limited()
        self.assertEqual([True, True, False, False], self.served(4))
        self.assertEqual(2, self.limited())
        self.mesh.advance(0.5)
        self.assertEqual([True, False], self.served(2))
        self.mesh.advance(100)
        self.assertEqual([True, True, False], self.served(3))
        self.assertEqual(4, self.limited())
        self.assertEqual(5, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_total"))

    def test_no_room(self) -> None:
        """A bucket without room has no token, ever."""
        self.serve_limited("token_bucket: {max_tokens: 0, fill_interval: 1s}")
        self.mesh.advance(100)
        self.assertEqual([False], self.served(1))

    def test_one_token_a_fill(self) -> None:
        """Where nothing is said one token comes back in an interval."""
        self.serve_limited("token_bucket: {max_tokens: 1, fill_interval: 2s}")
        self.assertEqual([True, False], self.served(2))
        self.mesh.advance(1)
        self.assertEqual([False], self.served(1))
        self.mesh.advance(1)
        self.assertEqual([True, False], self.served(2))

    def test_disabled(self) -> None:
        """While it is not enabled no token is taken."""
        self.serve_limited(f"{BUCKET}, runtime_enabled: {{default_value: false, runtime_key: k}}")
        self.assertEqual([True] * 4, self.served(4))
        self.assertEqual(0, self.limited())

    def test_workers(self) -> None:
        """The limit is one of all workers together."""
        mesh = Mesh(1, workers=2)
        mesh.add_cluster("c", HOST)
        mesh.upstream(HOST)
        mesh.add_listener("l", FRONT, tcp_proxy(), filters())
        mesh.listeners.start()
        served = [not mesh.connect().ended for _ in range(4)]
        self.assertEqual([True, True, False, False], served)

    def test_statistics_are_given_back(self) -> None:
        """They go with the listener."""
        self.serve_limited()
        self.mesh.listeners.remove("l")
        self.mesh.advance(1000)
        names = [each.name for each in self.mesh.store.counters()]
        self.assertEqual([], [each for each in names if each.startswith("listener_local_rate")])
