"""The listener filter set_filter_state before a tcp_proxy, on a network in memory."""

from __future__ import annotations

from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2
from envoy.extensions.filters.listener.set_filter_state.v3 import set_filter_state_pb2
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2
from zope.interface.verify import verifyClass

from tcpmesh.connection.state_objects import ClusterName
from tcpmesh.extensions.filters.listener.set_filter_state import SetFilterState
from tcpmesh.interfaces import IListenerFilter
from tcpmesh.values.stream.filter_state import Entry, Sharing, Text
from tests.extensions.filters.network.test_set_filter_state import CLUSTER, HOST, value
from tests.mesh import FRONT, MeshTestCase, tcp_proxy
from tests.wire.hellos import hello, server_name
from tests.wire.test_proxy_protocol import v1


class SetFilterStateTests(MeshTestCase):
    """What is set, and when."""

    def test_interface(self) -> None:
        """It is a listener filter."""
        verifyClass(IListenerFilter, SetFilterState)

    def test_what_was_found_out(self) -> None:
        """Texts show what the filters before it have found out and what was set before, and
        tcp_proxy goes by the objects.
        """
        upstream = self.mesh.upstream(HOST)
        self.mesh.add_cluster("a.test", HOST)
        text = "%DOWNSTREAM_REMOTE_ADDRESS% %LISTENER_NAME% %FILTER_CHAIN_NAME%"
        values = (
            value(CLUSTER, "%REQUESTED_SERVER_NAME%"),
            value("k", text, "factory_key: envoy.string, shared_with_upstream: ONCE"),
            value("again", f"%FILTER_STATE({CLUSTER}:PLAIN)%", "factory_key: envoy.string"),
        )
        reader, inspector, setter = (
            f"'@type': type.googleapis.com/{kind.DESCRIPTOR.full_name}"
            for kind in (
                proxy_protocol_pb2.ProxyProtocol,
                tls_inspector_pb2.TlsInspector,
                set_filter_state_pb2.Config,
            )
        )
        configs = (reader, inspector, f"{setter}, on_accept: [{', '.join(values)}]")
        filters = ", ".join(f"{{name: x, typed_config: {{{each}}}}}" for each in configs)
        self.mesh.add_listener(
            "l", FRONT, tcp_proxy("cluster: none"), f"listener_filters: [{filters}]"
        )
        self.mesh.listeners.start()
        client = self.mesh.connect()
        client.transport.write(v1("TCP4", "192.0.2.1", "192.0.2.2", 11, 22))
        self.mesh.pump()
        self.assertEqual([], upstream.built)
        client.transport.write(hello(server_name(b"A.test")))
        self.mesh.pump()
        self.assertEqual(1, len(upstream.built))
        entries = self.mesh.connections[-1].stream_info.filter_state.entries
        self.assertEqual(Entry(ClusterName("a.test")), entries[CLUSTER])
        self.assertEqual(Entry(Text("192.0.2.1:11 l -"), sharing=Sharing.ONCE), entries["k"])
        self.assertEqual(Entry(Text("a.test")), entries["again"])
