"""local_ratelimit before a tcp_proxy, on a network in memory."""

from __future__ import annotations

from typing import Any

from tests.extensions.filters.network.filtered import FilteredTestCase, network_filter, tcp_proxy
from tests.mesh import FRONT, Mesh, MeshTestCase
from tests.mesh import tcp_proxy as tcp_proxy_text

BUCKET = {"max_tokens": 2, "tokens_per_fill": 4, "fill_interval": "2s"}
TYPE = "type.googleapis.com/envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit"
HOST = "127.0.0.2:80"


def limit(**fields: Any) -> dict[str, Any]:
    """The filter."""
    fields = {"stat_prefix": "p", "token_bucket": BUCKET, **fields}
    return network_filter("local_ratelimit.v3.LocalRateLimit", **fields)


class LimitTests(FilteredTestCase):
    """Who is served."""

    def served(self, clients: int) -> list[bool]:
        """Whether each of so many clients is."""
        made = [self.connect() for _ in range(clients)]
        return [not client.ended for client in made]

    def limited(self) -> int:
        """How many were too many."""
        return self.mesh.stat("local_rate_limit.p.rate_limited")

    def test_limit(self) -> None:
        """As many clients are served as there are tokens, which come back evenly and never beyond
        `max_tokens`; the others are closed without an upstream.
        """
        self.serve(limit(), tcp_proxy())
        self.assertEqual(0, self.limited())
        self.assertEqual([True, True, False, False], self.served(4))
        self.assertEqual((2, 2), (self.limited(), len(self.host.built)))
        self.mesh.advance(0.5)
        self.assertEqual([True, False], self.served(2))
        self.mesh.advance(100)
        self.assertEqual([True, True, False], self.served(3))

    def test_why(self) -> None:
        """The log of a client too many has Envoy's flag and reason."""
        self.serve(limit(token_bucket={**BUCKET, "max_tokens": 0}), tcp_proxy())
        self.assertEqual([False], self.served(1))
        self.assertEqual(["URX - - local_ratelimit_close_over_limit"], self.logged())

    def test_runtime(self) -> None:
        """While the runtime switches it off nobody is closed, and no token is taken."""
        self.serve(
            limit(runtime_enabled={"default_value": True, "runtime_key": "k"}),
            tcp_proxy(),
            layered_runtime={"layers": [{"name": "s", "static_layer": {"k": False}}]},
        )
        self.assertEqual([True] * 5, self.served(5))
        self.mesh.worker.context.runtime.update({"k": None})
        self.assertEqual([True, True, False], self.served(3))

    def test_share_key(self) -> None:
        """Filters with one key and one kind of bucket have one; with another kind, or without a
        key, each has its own.
        """
        key = {"share_key": "k"}
        other = {**BUCKET, "max_tokens": 3}
        chains = (
            limit(**key),
            limit(**key, stat_prefix="q"),
        )
        self.serve(*chains, tcp_proxy())
        self.assertEqual([True, False], self.served(2))
        self.serve(limit(**key), limit(**key, token_bucket=other), tcp_proxy())
        self.assertEqual([True, True, False], self.served(3))
        self.serve(limit(), limit(), tcp_proxy())
        self.assertEqual([True, True, False], self.served(3))

    def test_bucket_goes_with_its_filters(self) -> None:
        """A bucket is kept as long as one filter has its key."""
        self.serve(limit(share_key="k"), tcp_proxy())
        objects = self.mesh.worker.context.objects
        self.assertEqual([True, True, False], self.served(3))
        self.assertEqual(1, len(objects._objects))
        self.mesh.listeners.remove("l")
        self.end_hosts()
        self.assertEqual(0, len(objects._objects))


class SeveralWorkersTests(MeshTestCase):
    """A limit holds for all workers together."""

    def test_limit_of_all(self) -> None:
        """Tokens that a client of another worker has taken are gone."""
        fields = (
            f'"@type": {TYPE}, stat_prefix: p, token_bucket: {{max_tokens: 2, fill_interval: 9s}}'
        )
        filters = f"[{{name: l, typed_config: {{{fields}}}}}, {tcp_proxy_text()[1:-1]}]"
        mesh = Mesh(1, workers=2)
        mesh.upstream(HOST)
        mesh.add_cluster("c", HOST)
        mesh.add_listener("l", FRONT, filters)
        mesh.listeners.start()
        ended = [mesh.connect().ended for _ in range(4)]
        self.assertEqual([False, False, True, True], ended)

    def test_share_key_of_all(self) -> None:
        """A bucket with a `share_key` is one for all listeners and workers."""
        fields = (
            f'"@type": {TYPE}, stat_prefix: p, share_key: k, '
            f"token_bucket: {{max_tokens: 3, fill_interval: 9s}}"
        )
        filters = f"[{{name: l, typed_config: {{{fields}}}}}, {tcp_proxy_text()[1:-1]}]"
        mesh = Mesh(1, workers=2)
        mesh.upstream(HOST)
        mesh.add_cluster("c", HOST)
        for number in (1, 2):
            mesh.add_listener(f"l{number}", f"127.0.0.1:{number}", filters)
        mesh.listeners.start()
        ended = [mesh.connect(f"127.0.0.1:{number % 2 + 1}").ended for number in range(5)]
        self.assertEqual([False] * 3 + [True] * 2, ended)
