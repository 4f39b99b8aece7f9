"""A proxy in memory with network filters before its tcp_proxy, as a bootstrap has them."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.net.tls.context import TlsContext
from tcpmesh.testing.harness import Client, Server
from tcpmesh.testing.memory.network import MemoryNetwork
from tcpmesh.testing.mesh import Mesh, address_of
from tcpmesh.testing.recording import RecordingProtocol
from tcpmesh.testing.tls import TlsMaker, settings
from tcpmesh.testing.wrappers import WrappingNetwork
from tcpmesh.values.address import Address
from tcpmesh.values.socket_options import ConnectOptions

FRONT, HOST = "127.0.0.1:1", "127.0.0.2:80"

URL = "type.googleapis.com/"
NETWORK = "envoy.extensions.filters.network."
LISTENER = "envoy.extensions.filters.listener."

#: Every place in which a log says why a filter has closed a connection.
WHY = (
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    "%DOWNSTREAM_LOCAL_CLOSE_REASON%"
)


def typed(type_name: str, **fields: Any) -> dict[str, Any]:
    """What a `typed_config` belongs to."""
    return {"name": "x", "typed_config": {"@type": URL + type_name, **fields}}


def network_filter(type_name: str, **fields: Any) -> dict[str, Any]:
    """A network filter, by what is below Envoy's package of these."""
    return typed(NETWORK + type_name, **fields)


def listener_filter(type_name: str, **fields: Any) -> dict[str, Any]:
    """A listener filter, likewise."""
    return typed(LISTENER + type_name, **fields)


def tcp_proxy(log: str = WHY, cluster: str = "c", **fields: Any) -> dict[str, Any]:
    """A tcp_proxy with an access log."""
    file = typed(
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path="/log",
        log_format={"text_format_source": {"inline_string": log + "\n"}},
    )
    return network_filter(
        "tcp_proxy.v3.TcpProxy", stat_prefix="t", cluster=cluster, access_log=[file], **fields
    )


def cluster(name: str, address: str = HOST, **fields: Any) -> dict[str, Any]:
    """A cluster of one host."""
    endpoint = {"endpoint": {"address": _address(address)}}
    group = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return {"name": name, "load_assignment": group, **fields}


def _address(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


class FilteredTestCase(SynchronousTestCase):
    """A test of such a proxy; its host greets nobody and answers nothing by itself."""

    def serve(
        self,
        *filters: dict[str, Any],
        listener: dict[str, Any] | None = None,
        chain: dict[str, Any] | None = None,
        clusters: tuple[dict[str, Any], ...] = (),
        network: MemoryNetwork | None = None,
        **bootstrap: Any,
    ) -> None:
        """Start it, with one chain of these filters.

        :param listener: further fields of the listener, and so for the chain and the bootstrap.
        :param clusters: those beside c.
        """
        text = json.dumps(
            {
                "static_resources": {
                    "listeners": [
                        {
                            "name": "l",
                            "address": _address(FRONT),
                            "filter_chains": [{"filters": filters, **(chain or {})}],
                            **(listener or {}),
                        }
                    ],
                    "clusters": [cluster("c"), *clusters],
                },
                **bootstrap,
            }
        )
        self.mesh = Mesh(text, network)
        self.host: Server = self.mesh.upstream(HOST)

    def connect(self, source: str = "") -> Any:
        """A client, perhaps from an address."""
        client = Client(RecordingProtocol())
        options = ConnectOptions(source=Address(source)) if source else None
        self.mesh.network.connect(address_of(FRONT), client, 10.0, options)
        self.mesh.pump()
        return client.given

    def say(self, client: Any, data: bytes = b"x") -> Any:
        """A client sends something, and all happens that follows."""
        client.transport.write(data)
        self.mesh.pump()
        return client

    def leave(self, client: Any) -> None:
        """A client goes, and its host."""
        client.transport.loseConnection()
        self.mesh.pump()
        self.end_hosts()

    def end_hosts(self) -> None:
        """All hosts close their connections."""
        for each in self.host.built:
            each.transport.loseConnection()
        self.mesh.pump()

    def tls_client(self, context: TlsContext | None = None) -> Any:
        """A client that speaks TLS."""
        context = context or TlsContext(settings(server_name="server.test"))
        network: Any = WrappingNetwork(self.mesh.network, TlsMaker(context, context))
        client = Client(RecordingProtocol())
        address: Address = address_of(FRONT)
        network.connect(address, client, 10.0)
        self.mesh.pump()
        return client.given

    def logged(self) -> list[str]:
        """The records of the access log."""
        return [record.rstrip("\n") for record in self.mesh.logged("/log")]
