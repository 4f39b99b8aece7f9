"""gRPC calls to a cluster."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import StringValue

from tests.rpc.called import METHOD, RpcTestCase, packed, text


class UnaryTests(RpcTestCase):
    """Calls of one message and one answer."""

    def test_answer(self) -> None:
        """A call has the header fields of gRPC and one message, and gets its answer."""
        self.assertEqual(["a"], self.call())

        (call,) = self.server.calls
        wanted = {
            ":method": "POST",
            ":scheme": "http",
            ":path": METHOD,
            ":authority": "c",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self.assertEqual(wanted, {name: call.fields.get(name) for name in wanted})
        self.assertEqual((packed("q"), True), (bytes(call.body), call.is_ended))

    def test_one_connection(self) -> None:
        """Calls share a connection."""
        for _ in range(3):
            self.call()

        self.assertEqual(1, len(self.server.connections))
        self.assertEqual(
            [1, 1, 1, 3, 0],
            self.moved(
                "upstream_cx_total",
                "upstream_cx_http2_total",
                "upstream_rq_pending_total",
                "upstream_rq_total",
                "upstream_rq_active",
            ),
        )

    def test_from_main(self) -> None:
        """Main makes calls too, over a connection of its own."""
        self.call()
        found: list[str] = []
        client = self.make_client(context=self.mesh.main.context)
        client.unary(METHOD, text("q"), StringValue).addCallback(lambda a: found.append(a.value))
        self.pump()

        self.assertEqual(["a"], found)
        self.assertEqual(2, len(self.server.connections))
        self.assertEqual([2, 2], self.moved("upstream_cx_total", "upstream_rq_total"))

    def test_status(self) -> None:
        """A status other than OK is an error, with the server's text."""
        self.server.reply = lambda call: call.head(
            (
                (":status", "200"),
                ("content-type", "application/grpc"),
                ("grpc-status", "7"),
                ("grpc-message", "no%20%C3%A9"),
            ),
            ended=True,
        )
        found = self.call()
        self.assertEqual("PERMISSION_DENIED", self.status(found))
        self.assertEqual("no é", found[0].message)

    def test_no_cluster(self) -> None:
        """A call to a cluster that is not there is UNAVAILABLE."""
        self.mesh.clusters.remove("c")
        self.assertEqual("UNAVAILABLE", self.status(self.call()))

    def test_refused(self) -> None:
        """A call to a host that refuses connections is UNAVAILABLE, and counted."""
        self.mesh.network.refused.add(self.mesh.network.ports.copy().popitem()[0])
        self.assertEqual("UNAVAILABLE", self.status(self.call()))
        self.assertEqual([1, 0], self.moved("upstream_cx_connect_fail", "upstream_cx_active"))


class StreamTests(RpcTestCase):
    """Calls of many messages."""

    def test_both_ways(self) -> None:
        """Messages go both ways until both sides have ended."""
        stream, observer = self.begin()
        stream.send(text("1"))
        stream.send(text("2"))
        self.pump()
        (call,) = self.server.calls
        call.head()
        call.say("x", "y")
        self.pump()
        self.assertEqual((packed("1") + packed("2"), ["x", "y"]), (call.body, observer.heard))

        self.server.reply = lambda call: call.end()
        stream.half_close()
        self.pump()
        self.assertEqual(("OK", False), (observer.end, stream.is_open))

    def test_cancel(self) -> None:
        """A call that is cancelled is reset at the server, and its observer hears nothing more."""
        stream, observer = self.begin()
        stream.cancel()
        self.pump()
        self.assertEqual((8, []), (self.server.calls[0].reset, observer.ends))
