"""gRPC calls to a server of gRPC's own library, over real sockets."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc  # type: ignore[import-untyped]
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from google.protobuf.json_format import ParseDict
from google.protobuf.wrappers_pb2 import StringValue

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tcpmesh.net.clock import MonotonicReactor
from tcpmesh.rpc.client import GrpcClient, grpc_client
from tcpmesh.rpc.status import GrpcError, GrpcStatus
from tcpmesh.server.assembly import assemble
from tcpmesh.server.networks import default_network
from tcpmesh.stats.store import Store

LARGE = "x" * 3_000_000

Waits = Generator[Deferred[Any], Any, None]


class Service(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Methods that do as they are called."""

    def service(self, details: Any) -> Any:
        """The handler of a method."""
        handlers = {
            "/t.T/Echo": grpc.unary_unary_rpc_method_handler(self.echo),
            "/t.T/Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "/t.T/Sleep": grpc.unary_unary_rpc_method_handler(self.sleep),
            "/t.T/Both": grpc.stream_stream_rpc_method_handler(self.both),
            "/t.T/Count": grpc.stream_unary_rpc_method_handler(self.count),
        }
        return handlers.get(details.method)

    def __init__(self) -> None:
        self.left: list[float | None] = []
        """Seconds that calls said they had."""

    def echo(self, request: bytes, context: Any) -> bytes:
        """The same."""
        return request

    def fail(self, request: bytes, context: Any) -> bytes:
        """No."""
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nicht schön: 100%")
        raise AssertionError

    def sleep(self, request: bytes, context: Any) -> bytes:
        """Later."""
        self.left.append(context.time_remaining())
        while context.is_active():
            time.sleep(0.01)
        return request

    def both(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Each message comes back."""
        yield from requests

    def count(self, requests: Iterator[bytes], context: Any) -> bytes:
        """How many bytes there were in all."""
        return StringValue(value=str(sum(map(len, requests)))).SerializeToString()


class Heard:
    """Writes down what a call tells, and fires when it is over."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.over: Deferred[GrpcError | None] = Deferred()
        self.drained: Deferred[None] = Deferred()

    def on_message(self, message: Any) -> None:
        """A message."""
        self.messages.append(message.value)

    def on_end(self, error: GrpcError | None) -> None:
        """The end."""
        self.over.callback(error)

    def on_drained(self) -> None:
        """All has left."""
        drained, self.drained = self.drained, Deferred()
        drained.callback(None)


class GrpcioTests(TestCase):
    """Calls that go through a cluster, or to a target."""

    timeout = 60

    def setUp(self) -> None:
        """A server, and a proxy with a cluster of it."""
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.service = Service()
        pool = ThreadPoolExecutor(8)
        self.server = grpc.server(
            pool, options=[("grpc.max_receive_message_length", 1 << 24)], handlers=(self.service,)
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.addCleanup(pool.shutdown)
        self.addCleanup(lambda: self.server.stop(0).wait())
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.port}}
        endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
        cluster = {
            "name": "c",
            "http2_protocol_options": {},
            "load_assignment": {"cluster_name": "c", "endpoints": endpoints},
        }
        bootstrap = ParseDict({"static_resources": {"clusters": [cluster]}}, Bootstrap())
        clock = MonotonicReactor(self.reactor)
        network = default_network(clock)
        self.store = Store()
        self.proxy = assemble(bootstrap, bootstrap.node, network, self.store)
        self.proxy.main.build()

        @inlineCallbacks
        def stop() -> Waits:
            yield deferLater(self.reactor, 0)  # not within a turn of what is stopped
            yield self.proxy.main.stop()
            yield network.stop()
            clock.stop()

        self.addCleanup(stop)
        self.client = self.make({"envoy_grpc": {"cluster_name": "c"}})

    def make(self, service: dict[str, Any]) -> GrpcClient:
        """A client."""
        message = ParseDict(service, GrpcService())
        return grpc_client(message, self.proxy.worker.context)

    def echo(self, client: GrpcClient, value: str) -> Deferred[Any]:
        """A call that is answered with the same."""
        return client.unary("/t.T/Echo", StringValue(value=value), StringValue)

    @inlineCallbacks
    def test_unary(self) -> Waits:
        """Answers of any size come whole, many calls at a time, over one connection."""
        answer: Any = yield self.echo(self.client, LARGE)
        self.assertEqual(LARGE, answer.value)
        calls = [self.echo(self.client, str(number)) for number in range(200)]
        for number, call in enumerate(calls):
            answer = yield call
            self.assertEqual(str(number), answer.value)
        self.store.collect()
        counts = {each.name: each.tally for each in self.store.counters()}
        self.assertEqual(1, counts["cluster.c.upstream_cx_http2_total"])
        self.assertEqual(201, counts["cluster.c.upstream_rq_200"])

    @inlineCallbacks
    def test_target(self) -> Waits:
        """A target of a name, or of an address."""
        for target in (f"localhost:{self.port}", f"ipv4:127.0.0.1:{self.port}"):
            client = self.make({"google_grpc": {"target_uri": target, "stat_prefix": "g"}})
            answer: Any = yield self.echo(client, "a")
            self.assertEqual("a", answer.value)
            client.close()

    @inlineCallbacks
    def test_status(self) -> Waits:
        """The status and its text are the server's."""
        call = self.client.unary("/t.T/Fail", StringValue(), StringValue)
        error: Any = yield self.assertFailure(call, GrpcError)
        self.assertEqual(GrpcStatus.FAILED_PRECONDITION, error.status)
        self.assertEqual("nicht schön: 100%", error.message)
        call = self.client.unary("/t.T/None", StringValue(), StringValue)
        error = yield self.assertFailure(call, GrpcError)
        self.assertEqual(GrpcStatus.UNIMPLEMENTED, error.status)

    @inlineCallbacks
    def test_deadline(self) -> Waits:
        """The server knows the deadline."""
        call = self.client.unary("/t.T/Sleep", StringValue(), StringValue, timeout=0.5)
        error: Any = yield self.assertFailure(call, GrpcError)
        self.assertEqual(GrpcStatus.DEADLINE_EXCEEDED, error.status)
        (left,) = self.service.left
        self.assertTrue(left is not None and 0 < left <= 0.5, left)

    @inlineCallbacks
    def test_both_ways(self) -> Waits:
        """Messages go both ways until this side has said all."""
        heard = Heard()
        stream = self.client.stream("/t.T/Both", StringValue, heard)
        for number in range(100):
            self.assertTrue(stream.send(StringValue(value=str(number))))
        stream.half_close()
        error = yield heard.over
        self.assertIsNone(error)
        self.assertEqual([str(number) for number in range(100)], heard.messages)

    @inlineCallbacks
    def test_much(self) -> Waits:
        """As much as is wanted goes to a server, a bounded part of it at a time."""
        heard = Heard()
        stream = self.client.stream("/t.T/Count", StringValue, heard)
        message = StringValue(value="x" * 100_000)
        sent = 0
        while sent < 200:
            drained = heard.drained
            if stream.send(message):
                sent += 1
            else:
                yield drained
        stream.half_close()
        error = yield heard.over
        self.assertIsNone(error)
        self.assertEqual([str(200 * message.ByteSize())], heard.messages)

    @inlineCallbacks
    def test_leaving(self) -> Waits:
        """A server that stops in an orderly way serves the calls it has; the next one is
        UNAVAILABLE.
        """
        heard = Heard()
        stream = self.client.stream("/t.T/Both", StringValue, heard)
        stream.send(StringValue(value="a"))
        while not heard.messages:
            yield deferLater(self.reactor, 0.01)
        self.server.stop(10)
        yield deferLater(self.reactor, 0.1)
        stream.send(StringValue(value="b"))
        stream.half_close()
        error: Any = yield heard.over
        self.assertIsNone(error)
        self.assertEqual(["a", "b"], heard.messages)
        error = yield self.assertFailure(self.echo(self.client, "a"), GrpcError)
        self.assertEqual(GrpcStatus.UNAVAILABLE, error.status)
