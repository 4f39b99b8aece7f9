"""What stands behind the names that extensions had before they had types."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.migrate.names import type_of_protocol_options, type_per_route
from tcpmesh.config.migrate.versions import newer

_HTTP = "envoy.extensions.filters.http."
_NETWORK = "envoy.extensions.filters.network."


class NameTests(SynchronousTestCase):
    """Types by names."""

    def test_routes(self) -> None:
        """A route configures a filter with a message of its own, or with that of the filter."""
        for name, found in (
            ("envoy.buffer", f"{_HTTP}buffer.v3.BufferPerRoute"),
            ("envoy.rate_limit", f"{_HTTP}ratelimit.v3.RateLimitPerRoute"),
            (
                "envoy.filters.http.dynamic_forward_proxy",
                f"{_HTTP}dynamic_forward_proxy.v3.PerRouteConfig",
            ),
            ("envoy.filters.http.fault", f"{_HTTP}fault.v3.HTTPFault"),
            ("nobody.knows", ""),
        ):
            self.assertEqual(found, type_per_route(name), name)

    def test_gone(self) -> None:
        """A type that nobody knows any more is looked for where it would be now."""
        self.assertEqual(
            f"{_NETWORK}nope.v3.Nope", newer("envoy.config.filter.network.nope.v2.Nope")
        )

    def test_protocol_options(self) -> None:
        """A cluster has options for the filters that have such."""
        for name, found in (
            ("envoy.redis_proxy", f"{_NETWORK}redis_proxy.v3.RedisProtocolOptions"),
            (
                "envoy.filters.network.thrift_proxy",
                f"{_NETWORK}thrift_proxy.v3.ThriftProtocolOptions",
            ),
            ("envoy.tcp_proxy", ""),
            ("nobody.knows", ""),
        ):
            self.assertEqual(found, type_of_protocol_options(name), name)
