"""ratelimit: what it asks, and what comes of the answers."""

from __future__ import annotations

from typing import Any

from envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse

from tests.extensions.filters.network.asked import AskedTestCase
from tests.extensions.filters.network.filtered import WHY, network_filter, tcp_proxy

OK = RateLimitResponse(overall_code=RateLimitResponse.OK)
OVER = RateLimitResponse(overall_code=RateLimitResponse.OVER_LIMIT)
LOG = f"{WHY} %DYNAMIC_METADATA(envoy.filters.network.ratelimit)%"


def ratelimit(*entries: tuple[str, str], **fields: Any) -> dict[str, Any]:
    """The filter, with one descriptor of these entries."""
    pairs = [{"key": key, "value": value} for key, value in entries or [("k", "v")]]
    service = {"transport_api_version": "V3", "grpc_service": {"envoy_grpc": {"cluster_name": "s"}}}
    return network_filter(
        "ratelimit.v3.RateLimit",
        **{
            "stat_prefix": "p",
            "domain": "d",
            "descriptors": [{"entries": pairs}],
            "rate_limit_service": service,
            **fields,
        },
    )


class RateLimitTests(AskedTestCase):
    """A proxy with the filter."""

    question = RateLimitRequest

    def begin(self, *entries: tuple[str, str], runtime: Any = None, **fields: Any) -> None:
        """Serve."""
        layers = [{"name": "s", "static_layer": runtime}] if runtime else []
        self.serve_asking(
            ratelimit(*entries, **fields), tcp_proxy(LOG), layered_runtime={"layers": layers}
        )

    def counted(self) -> dict[str, int]:
        """What the filter has counted."""
        return self.mesh.moved("ratelimit.p.")

    def test_names(self) -> None:
        """All statistics are there from the start."""
        self.begin()
        names = "total error over_limit ok active cx_closed failure_mode_allowed"
        self.assertEqual(set(names.split()), set(self.mesh.stats("ratelimit.p.")))

    def test_question(self) -> None:
        """The service is asked when a client connects, in whose name operators in values have; the
        client waits for the answer, and has no upstream before it.
        """
        self.begin(("a%X", "%DOWNSTREAM_LOCAL_PORT%-%REQUESTED_SERVER_NAME%"), ("e", ""))
        client = self.connect()
        self.say(client)
        (asked,) = self.asked()
        self.assertEqual(("d", 0), (asked.domain, asked.hits_addend))
        (descriptor,) = asked.descriptors
        entries = [(each.key, each.value) for each in descriptor.entries]
        self.assertEqual([("a%X", "1--"), ("e", "")], entries)
        self.assertEqual({"total": 1, "active": 1}, self.counted())
        self.assertEqual([], self.host.built)

        self.always(OK)
        self.answer_late()
        self.assertEqual(b"x", self.host.built[0].received)
        self.assertEqual({"total": 1, "ok": 1}, self.counted())

    def test_not_sent(self) -> None:
        """A limit and hits of a descriptor are not for this filter, as in Envoy."""
        limit = {"requests_per_unit": 3, "unit": "HOUR"}
        entries = [{"key": "k", "value": "v"}]
        self.begin(descriptors=[{"entries": entries, "limit": limit, "hits_addend": 7}])
        self.connect()
        (descriptor,) = self.asked()[0].descriptors
        self.assertFalse(descriptor.HasField("limit") or descriptor.HasField("hits_addend"))

    def test_over_limit(self) -> None:
        """A client too many is closed, with what the service says in the metadata."""
        self.begin()
        answer = RateLimitResponse()
        answer.CopyFrom(OVER)
        answer.dynamic_metadata.update({"n": 1, "l": [None, {"x": True}]})
        self.always(answer)
        self.assertTrue(self.connect().ended)
        self.assertEqual({"total": 1, "over_limit": 1, "cx_closed": 1}, self.counted())
        self.assertEqual([], self.host.built)
        told = '{"l":[null,{"x":true}],"n":1}'
        self.assertEqual([f"- - - ratelimit_close_over_limit {told}"], self.logged())

    def test_unknown_code(self) -> None:
        """An answer without a code is one to go on."""
        self.begin()
        self.always(RateLimitResponse())
        self.assertFalse(self.connect().ended)
        self.assertEqual({"total": 1, "ok": 1}, self.counted())

    def test_failure(self) -> None:
        """A service that fails lets clients in, or with `failure_mode_deny` none."""
        self.begin()
        self.reply = self.refuse
        self.assertFalse(self.connect().ended)
        self.assertEqual({"total": 1, "error": 1, "failure_mode_allowed": 1}, self.counted())
        self.begin(failure_mode_deny=True)
        self.reply = self.refuse
        self.assertTrue(self.connect().ended)
        self.assertEqual({"total": 1, "error": 1, "cx_closed": 1}, self.counted())
        why = "ratelimit_error_failure_mode_connection_close"
        self.assertEqual([f"- - - {why} -"], self.logged())

    def test_down(self) -> None:
        """So does one that cannot be connected to."""
        self.begin(failure_mode_deny=True)
        self.mesh.network.ports.pop(next(a for a in self.mesh.network.ports if a.port == 90))
        self.assertTrue(self.connect().ended)
        self.assertEqual({"total": 1, "error": 1, "cx_closed": 1}, self.counted())

    def test_slow(self) -> None:
        """A service has `timeout` to answer, 20 ms by default; what comes later is not heard."""
        for fields, seconds in (({}, 0.02), ({"timeout": "2s"}, 2.0)):
            self.begin(failure_mode_deny=True, **fields)
            client = self.connect()
            self.mesh.advance(seconds * 0.9)
            self.assertEqual((False, 1), (client.ended, self.counted()["active"]))
            self.mesh.advance(seconds * 0.2)
            self.assertEqual({"total": 1, "error": 1, "cx_closed": 1}, self.counted())
            self.assertTrue(client.ended)
            self.assertEqual([8], [call.reset for call in self.calls])

    def test_lying(self) -> None:
        """An answer that is none counts as a failure."""
        self.begin(failure_mode_deny=True)

        def lie(call: Any) -> None:
            call.head()
            call.data(b"\0\0\0\0\3abc")
            call.end()

        self.reply = lie
        self.assertTrue(self.connect().ended)
        self.assertEqual({"total": 1, "error": 1, "cx_closed": 1}, self.counted())

    def test_strange_numbers(self) -> None:
        """Numbers of JSON that JSON does not have are taken as they come."""
        self.begin()
        answer = RateLimitResponse()
        answer.CopyFrom(OK)
        answer.dynamic_metadata.fields["n"].number_value = float("nan")
        answer.dynamic_metadata.fields["i"].number_value = float("inf")
        self.always(answer)
        self.assertFalse(self.connect().ended)
        self.assertEqual({"total": 1, "ok": 1}, self.counted())

    def test_leaves_while_waiting(self) -> None:
        """A client that leaves while the service thinks is forgotten where that is noticed, as of
        one that is read: the call is broken off, and an answer is not heard.
        """
        self.serve_asking(ratelimit(timeout="5s"), network_filter("echo.v3.Echo"))
        self.connect().transport.abortConnection()
        self.mesh.pump()
        self.assertEqual({"total": 1}, self.counted())
        self.assertEqual([8], [call.reset for call in self.calls])
        self.mesh.advance(10)
        self.assertEqual({"total": 1}, self.counted())
        self.assertEqual(0, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_not_enforced(self) -> None:
        """With `ratelimit.tcp_filter_enforcing` 0 answers are counted, and nobody is closed."""
        self.begin(runtime={"ratelimit.tcp_filter_enforcing": 0})
        self.always(OVER)
        self.assertFalse(self.connect().ended)
        self.assertEqual({"total": 1, "over_limit": 1}, self.counted())

    def test_not_enabled(self) -> None:
        """With `ratelimit.tcp_filter_enabled` 0 nobody is asked."""
        self.begin(runtime={"ratelimit.tcp_filter_enabled": 0})
        self.assertFalse(self.connect().ended)
        self.assertEqual(({}, []), (self.counted(), self.calls))

    def test_gone_with_the_last_question(self) -> None:
        """The statistics of a listener that was removed stay until its last client is answered."""
        self.begin(timeout="5s")
        self.connect()
        self.mesh.listeners.remove("l")
        self.mesh.pump()
        self.assertEqual({"total": 1, "active": 1}, self.counted())
        self.always(OVER)
        self.answer_late()
        self.assertEqual({}, self.mesh.stats("ratelimit.p."))
