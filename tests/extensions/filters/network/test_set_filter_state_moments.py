"""set_filter_state at its later moments: after the TLS handshake, and with the first data."""

from __future__ import annotations

from typing import Any

from tests.extensions.filters.network.filtered import (
    FilteredTestCase,
    cluster,
    network_filter,
    tcp_proxy,
)
from tests.extensions.transport_sockets.tls.test_tls import issued, socket

HANDSHAKE, DATA = "on_downstream_tls_handshake", "on_downstream_data"
OTHER = "127.0.0.3:80"


def value(key: str, text: str, factory: str = "envoy.string") -> list[dict[str, Any]]:
    """One `FilterStateValue`."""
    source = {"text_format_source": {"inline_string": text}}
    return [{"object_key": key, "factory_key": factory, "format_string": source}]


def state(**moments: Any) -> dict[str, Any]:
    """A filter that sets these."""
    return network_filter("set_filter_state.v3.Config", **moments)


class MomentTests(FilteredTestCase):
    """What is set when."""

    def begin(self, *filters: dict[str, Any], tls: bool = False, **fields: Any) -> None:
        """Serve with these filters, perhaps with TLS."""
        chain = {"transport_socket": socket("Downstream", {"tls_certificates": [issued("s.test")]})}
        self.serve(
            *filters,
            tcp_proxy("%FILTER_STATE(one:PLAIN)% %FILTER_STATE(two:PLAIN)%", **fields),
            chain=chain if tls else None,
            clusters=(cluster("d", OTHER),),
        )
        self.other = self.mesh.upstream(OTHER)

    def test_data(self) -> None:
        """It is set with the first that the client sends, and not again."""
        more = "%FILTER_STATE(one:PLAIN)%x"
        self.begin(state(**{DATA: value("one", more)}))
        client = self.connect()
        self.say(client)
        self.say(client)
        self.assertEqual(b"xx", self.host.built[0].received)
        self.leave(client)
        self.assertEqual(["-x -"], self.logged())

    def test_end_of_stream(self) -> None:
        """A client that ends its stream without a byte counts as having sent something."""
        self.begin(state(on_new_connection=value("one", "a"), **{DATA: value("two", "b")}))
        self.leave(self.connect())
        self.assertEqual(["a b"], self.logged())

    def test_without_tls(self) -> None:
        """Where there is no TLS the moment of its handshake is that of the new connection, and an
        upstream is chosen by what is set.
        """
        name = "envoy.tcp_proxy.cluster"
        self.begin(state(**{HANDSHAKE: value(name, "d", name)}))
        self.connect()
        self.assertEqual((0, 1), (len(self.host.built), len(self.other.built)))

    def test_handshake(self) -> None:
        """With TLS it is set once the handshake is over, by as many filters as there are, each with
        what the handshake has agreed on; and who waits for that moment too goes by it.
        """
        name = "envoy.tcp_proxy.cluster"
        self.begin(
            state(**{HANDSHAKE: value("one", "%DOWNSTREAM_TLS_VERSION%")}),
            state(**{HANDSHAKE: [*value(name, "d", name), *value("two", "b")]}),
            tls=True,
            upstream_connect_mode="ON_DOWNSTREAM_TLS_HANDSHAKE",
            max_early_data_bytes=100,
        )
        client = self.tls_client()
        self.assertEqual((0, 1), (len(self.host.built), len(self.other.built)))
        client.transport.loseConnection()
        self.other.built[0].transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(["TLSv1.3 b"], self.logged())

    def test_behind_a_filter_that_changes_bytes(self) -> None:
        """A filter that may change bytes stands above TLS, and hides neither the handshake nor what
        it has agreed on.
        """
        name = "envoy.tcp_proxy.cluster"
        limit = network_filter("tcp_bandwidth_limit.v3.TcpBandwidthLimit", stat_prefix="b")
        of_tls = [*value("one", "%DOWNSTREAM_TLS_VERSION%"), *value(name, "d", name)]
        self.begin(
            limit,
            state(**{HANDSHAKE: of_tls}),
            tls=True,
            upstream_connect_mode="ON_DOWNSTREAM_TLS_HANDSHAKE",
            max_early_data_bytes=100,
        )
        client = self.tls_client()
        self.assertEqual((0, 1), (len(self.host.built), len(self.other.built)))
        client.transport.write(b"question")
        self.other.built[0].transport.write(b"answer")
        self.mesh.pump()
        self.assertEqual(b"question", self.other.built[0].received)
        self.assertEqual(b"answer", client.received)
        client.transport.loseConnection()
        self.other.built[0].transport.loseConnection()
        self.mesh.pump()
        self.assertEqual(["TLSv1.3 -"], self.logged())

    def test_no_handshake(self) -> None:
        """A client that leaves in the middle of it has nothing set."""
        self.begin(state(**{HANDSHAKE: value("one", "a")}), tls=True)
        self.say(self.connect(), b"no TLS at all")
        self.end_hosts()
        self.assertEqual(["- -"], self.logged())
