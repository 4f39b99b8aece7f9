"""What a DNS cache is told, and the keys of names."""

from __future__ import annotations

from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.cluster.names.settings import host_and_port_of, key_of, settings_of
from tcpmesh.values.dns import Family


class SettingsTests(SynchronousTestCase):
    """The settings of a message."""

    def test_defaults(self) -> None:
        """What is not said is as in Envoy."""
        found = settings_of(DnsCacheConfig(name="c"))
        self.assertEqual(("c", Family.AUTO, 1024, 1024), found_limits(found))
        self.assertEqual(
            (300.0, 60.0, 5.0, 5.0),
            (found.host_ttl, found.refresh_rate, found.least_refresh, found.query_timeout),
        )

    def test_zero_pending(self) -> None:
        """A limit of 0 is one."""
        message = DnsCacheConfig(name="c")
        message.dns_cache_circuit_breaker.max_pending_requests.value = 0
        self.assertEqual(0, settings_of(message).most_pending)

    def test_first(self) -> None:
        """Names to be looked up before anybody asks have keys as others have."""
        message = DnsCacheConfig(name="c")
        message.preresolve_hostnames.add(address="a.test", port_value=80)
        self.assertEqual(("a.test:80",), settings_of(message).first)


def found_limits(found: object) -> tuple[object, ...]:
    """Four of the settings."""
    names = ("name", "family", "most_hosts", "most_pending")
    return tuple(getattr(found, name) for name in names)


class KeyTests(SynchronousTestCase):
    """How a name is found again."""

    def test_keys(self) -> None:
        """A name has the port that is given, or its own where it brings one, as in Envoy."""
        for name, key, host, port in (
            ("a.test", "a.test:5", "a.test", 5),
            ("a.test:80", "a.test:80", "a.test", 80),
            ("127.0.0.1", "127.0.0.1:5", "127.0.0.1", 5),
            ("[::1]", "[::1]:5", "::1", 5),
            ("[::1]:80", "[::1]:80", "::1", 80),
            ("a:70000", "a:70000:5", "a:70000", 5),
            ("a:", "a::5", "a:", 5),
            (":80", ":80:5", ":80", 5),
        ):
            self.assertEqual(key, key_of(name, 5))
            self.assertEqual((host, port), host_and_port_of(key))

    @given(st.text(min_size=1), st.integers(0, 65535))
    def test_any(self, name: str, port: int) -> None:
        """Whatever a client asks for has a key that says a port."""
        host, found = host_and_port_of(key_of(name, port))
        self.assertTrue(0 <= found <= 65535, host)
