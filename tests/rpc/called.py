"""gRPC servers of a cluster on a memory network, which do as they are told, and a client of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2
from google.protobuf.wrappers_pb2 import StringValue
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import Settings

from tcpmesh.registry import Context
from tcpmesh.rpc.client import GrpcClient, grpc_client
from tcpmesh.rpc.status import GrpcError
from tcpmesh.testing.recording import OneWayRecordingProtocol
from tcpmesh.wire.grpc import framed
from tests.mesh import MeshTestCase, parse

HOST = "127.0.0.2:80"
METHOD = "/a.B/C"
HEAD = ((":status", "200"), ("content-type", "application/grpc"))
OK = (("grpc-status", "0"),)

OPTIONS = http_protocol_options_pb2.HttpProtocolOptions.DESCRIPTOR.full_name
HTTP2 = (
    f"typed_extension_protocol_options: {{{OPTIONS}: {{'@type': type.googleapis.com/{OPTIONS}, "
    "explicit_http_config: {http2_protocol_options: {%s}}}}"
)


def text(value: str) -> StringValue:
    """A message of a call."""
    return StringValue(value=value)


def packed(value: str) -> bytes:
    """The same as it stands in a body."""
    return framed(text(value).SerializeToString())


class Call:
    """A call that a server has got."""

    def __init__(self, server: ServerConnection, number: int, fields: dict[str, str]) -> None:
        self.server = server
        self.number = number
        self.fields = fields
        self.body = bytearray()
        self.is_ended = False
        self.reset: int | None = None

    def head(self, fields: Any = HEAD, *, ended: bool = False) -> None:
        """Begin to answer."""
        self.server.h2.send_headers(self.number, fields, end_stream=ended)
        self.server.flush()

    def say(self, *values: str) -> None:
        """Send messages."""
        self.data(b"".join(map(packed, values)))

    def data(self, data: bytes, *, ended: bool = False) -> None:
        """Send some of the body."""
        self.server.h2.send_data(self.number, data, end_stream=ended)
        self.server.flush()

    def end(self, fields: Any = OK) -> None:
        """Send trailers."""
        self.server.h2.send_headers(self.number, fields, end_stream=True)
        self.server.flush()

    def answer(self, *values: str) -> None:
        """All of an answer."""
        self.head()
        self.say(*values)
        self.end()


class ServerConnection(OneWayRecordingProtocol):
    """One connection of a server."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.on_data = self._read
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=False, initial_values=server.settings)
        self.h2.initiate_connection()
        self.calls: dict[int, Call] = {}
        self._read_to = 0

    def _read(self) -> None:
        data = bytes(self.received[self._read_to :])
        self._read_to = len(self.received)
        for event in self.h2.receive_data(data):
            self._take(event)
        self.flush()

    def _take(self, event: Any) -> None:
        if isinstance(event, RequestReceived):
            assert event.stream_id
            fields = {str(name): str(value) for name, value in event.headers or ()}
            call = self.calls[event.stream_id] = Call(self, event.stream_id, fields)
            self.server.calls.append(call)
        elif isinstance(event, DataReceived):
            assert event.stream_id
            self.calls[event.stream_id].body += event.data or b""
            if self.server.takes:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            assert event.stream_id
            self.calls[event.stream_id].is_ended = True
            self.server.reply(self.calls[event.stream_id])
        elif isinstance(event, StreamReset):
            assert event.stream_id
            self.calls[event.stream_id].reset = int(event.error_code or 0)

    def flush(self) -> None:
        """Send what there is."""
        data = self.h2.data_to_send()
        if data:
            self.transport.write(data)

    def write(self, data: bytes) -> None:
        """Send these bytes, whatever they are."""
        self.transport.write(data)


class Server:
    """Listens at an address; `reply` is called with each call whose request is whole."""

    def __init__(self, test: RpcTestCase, address: str = HOST) -> None:
        self.settings: dict[Any, int] = {}
        self.takes = True
        """Whether it makes room again for what it has got."""
        self.reply: Callable[[Call], object] = lambda call: call.answer("a")
        self.connections: list[ServerConnection] = []
        self.calls: list[Call] = []
        test.mesh.upstream(address).make = self._connection

    def _connection(self) -> ServerConnection:
        self.connections.append(ServerConnection(self))
        return self.connections[-1]


class Observer:
    """Writes down what a call tells."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.ends: list[GrpcError | None] = []
        self.drained = 0

    def on_message(self, message: Any) -> None:
        """A message."""
        self.heard.append(message.value)

    def on_end(self, error: GrpcError | None) -> None:
        """The end."""
        self.ends.append(error)

    def on_drained(self) -> None:
        """All is sent."""
        self.drained += 1

    @property
    def end(self) -> str:
        """How it ended: the name of its status."""
        (error,) = self.ends
        return "OK" if error is None else error.status.name


class RpcTestCase(MeshTestCase):
    """A test of calls to a cluster c."""

    def setUp(self) -> None:
        """A server that answers `a`, a cluster of it, and a client in a worker."""
        super().setUp()
        self.server = Server(self)
        self.add()
        self.client = self.make_client()

    def add(self, options: str = "", more: str = "", hosts: tuple[str, ...] = (HOST,)) -> None:
        """Add or replace the cluster."""
        self.mesh.add_cluster("c", *hosts, more=f"{HTTP2 % options}\n{more}")

    def make_client(
        self,
        fields: str = "",
        envoy: str = "cluster_name: c",
        context: Context | None = None,
    ) -> GrpcClient:
        """A client for an `envoy_grpc` with these fields; a worker's, where nothing is said."""
        message = parse(GrpcService, f"{{envoy_grpc: {{{envoy}}}, {fields}}}")
        return grpc_client(message, context or self.mesh.worker.context)

    def pump(self) -> None:
        """Do all that can be done."""
        self.mesh.network.pump()

    def call(self, value: str = "q", timeout: float | None = None) -> list[Any]:
        """Make a unary call; a list that gets its answer or its `GrpcError`."""
        found: list[Any] = []
        made = self.client.unary(METHOD, text(value), StringValue, timeout)
        made.addCallbacks(lambda reply: found.append(reply.value), lambda e: found.append(e.value))
        self.pump()
        return found

    def status(self, found: list[Any]) -> str:
        """The name of the status that a unary call ended with."""
        (error,) = found
        self.assertIsInstance(error, GrpcError)
        return str(error.status.name)

    def begin(self, timeout: float | None = None) -> tuple[Any, Observer]:
        """Begin a call of many messages."""
        observer = Observer()
        stream = self.client.stream(METHOD, StringValue, observer, timeout)
        self.pump()
        return stream, observer

    def moved(self, *names: str) -> list[int]:
        """What the cluster has counted."""
        stats = self.mesh.stats("cluster.c.")
        return [stats[name] for name in names]
