"""HTTP health checks on the wire."""

from __future__ import annotations

import json
from pathlib import Path

from tcpmesh.values.runtime import Entry
from tests.cluster.health.checked import HOST, CheckedTestCase

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def status(code: int, more: str = "") -> bytes:
    """A response without a body."""
    return f"HTTP/1.1 {code} x\r\ncontent-length: 0\r\n{more}\r\n".encode()


class HttpTestCase(CheckedTestCase):
    """A test of a host that answers as it is told."""

    def checked(self, response: bytes, fields: str = "", more: str = "") -> str:
        """The flags of a host that gives this response to a check with these fields."""
        self.mesh.clusters.remove("c")
        if not hasattr(self, "server"):
            self.server = self.answers()
        self.server.answer = lambda asked: response
        self.server.lines.clear()
        self.check(f"http_health_check: {{path: /h{', ' if fields else ''}{fields}}}", more)
        return self.health()


class RequestTests(HttpTestCase):
    """What is asked."""

    def request(self, fields: str = "") -> list[str]:
        """The lines of the request."""
        self.checked(OK, fields)
        return self.server.heard[0].decode().split("\r\n")

    def test_plain(self) -> None:
        """A GET of the path, of the cluster as host, from Envoy/HC."""
        self.assertEqual(
            ["GET /h HTTP/1.1", "host: c", "user-agent: Envoy/HC", "", ""], self.request()
        )

    def test_fields(self) -> None:
        """Host and method as they are given; a method that has a body has a length."""
        self.assertEqual(
            ["HEAD /h HTTP/1.1", "host: h", "user-agent: Envoy/HC", "", ""],
            self.request("host: h, method: HEAD"),
        )
        for method in ("POST", "PUT", "PATCH", "OPTIONS"):
            self.assertIn("content-length: 0", self.request(f"method: {method}"))
        self.assertEqual(
            ["content-length: 2", "", "AB"], self.request('method: PUT, send: {text: "4142"}')[-3:]
        )

    def test_endpoint_hostname(self) -> None:
        """The hostname in an endpoint's health_check_config is the host it is asked as."""
        server = self.answers(lambda asked: OK)
        endpoint = (
            "{endpoint: {address: {socket_address: {address: 127.0.0.2, port_value: "
            "80}}, health_check_config: {hostname: e}}}"
        )
        more = f"load_assignment: {{endpoints: [{{lb_endpoints: [{endpoint}]}}]}}"
        times = "timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1"
        self.mesh.add_cluster(
            "c",
            more=f"{more}\nhealth_checks: [{{{times}, http_health_check: {{path: /, host: h}}}}]",
        )
        self.mesh.network.pump()
        self.assertIn(b"\r\nhost: e\r\n", server.heard[0])

    def test_headers(self) -> None:
        """Fields are added, in lower case, by each of the four actions, those that take the place
        of others first; two percent signs are one.
        """
        add = (
            "{header: {key: X-A, value: 100%%}}, {header: {key: x-a, value: b}}, "
            "{header: {key: x-a, value: c}, append_action: ADD_IF_ABSENT}, "
            "{header: {key: x-c, value: d}, append_action: ADD_IF_ABSENT}, "
            "{header: {key: x-e, value: e}, append_action: OVERWRITE_IF_EXISTS}, "
            "{header: {key: x-c, value: f}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}, "
            "{header: {key: x-g}}, {header: {key: x-h}, keep_empty_value: true}"
        )
        self.assertEqual(
            [
                "host: c",
                "user-agent: Envoy/HC",
                "x-c: f",
                "x-a: 100%",
                "x-a: b",
                "x-a: c",
                "x-c: d",
                "x-h: ",
            ],
            self.request(f"request_headers_to_add: [{add}]")[1:-2],
        )

    def test_user_agent(self) -> None:
        """A user-agent that is added joins ours; ours may be removed, but not the host."""
        add = "request_headers_to_add: [{header: {key: User-Agent, value: mine}}]"
        self.assertIn("user-agent: Envoy/HC,mine", self.request(add))
        self.assertEqual(
            ["host: c"], self.request("request_headers_to_remove: [User-Agent, host]")[1:-2]
        )


class AnswerTests(HttpTestCase):
    """How the answer is judged."""

    def test_statuses(self) -> None:
        """200 is well, or what expected_statuses says, the end of a range not included."""
        expected = "expected_statuses: [{start: 204, end: 206}, {start: 503, end: 504}]"
        self.assertEqual(
            ["", "failed_active_hc"], [self.checked(status(code)) for code in (200, 204)]
        )
        codes = (200, 204, 205, 206, 503)
        wanted = ["failed_active_hc", "", "", "failed_active_hc", ""]
        self.assertEqual(wanted, [self.checked(status(code), expected) for code in codes])

    def test_counted(self) -> None:
        """An unexpected status is a failure, but none of the network."""
        self.checked(status(500))
        self.assertEqual((0, 1, 0), self.counted())

    def test_retriable(self) -> None:
        """An unexpected status takes a host out whatever the threshold is; a retriable one
        counts.
        """
        self.checked(OK, "retriable_statuses: [{start: 500, end: 501}]", "unhealthy_threshold: 2")
        seen = []
        for code in (500, 200, 404):
            self.server.answer = lambda asked, code=code: status(code)  # type: ignore[misc]
            self.again()
            seen.append(self.health())
        self.assertEqual(["", "", "failed_active_hc"], seen)

    def test_receive(self) -> None:
        """The body must have the blocks, within the bytes that are looked at."""
        ok = "receive: [{text: 6f}, {text: 6b}]"
        self.assertEqual("", self.checked(OK, ok))
        self.assertEqual("failed_active_hc", self.checked(OK.replace(b"ok", b"ko"), ok))
        self.assertEqual("failed_active_hc", self.checked(OK, f"response_buffer_size: 1, {ok}"))
        self.assertEqual("", self.checked(OK, f"response_buffer_size: 0, {ok}"))

    def test_service(self) -> None:
        """The service that answers must be the one that service_name_matcher says."""
        named = status(200, "x-envoy-upstream-healthchecked-cluster: web-1\r\n")
        for matcher, well in (
            ("exact: web-1", True),
            ("exact: web", False),
            ("prefix: web", True),
            ("suffix: '-1'", True),
            ("contains: b-", True),
            ("prefix: WEB, ignore_case: true", True),
            ("prefix: WEB", False),
            ("safe_regex: {regex: 'w.*[0-9]'}", True),
            ("safe_regex: {regex: 'web'}", False),
        ):
            flags = self.checked(named, f"service_name_matcher: {{{matcher}}}")
            self.assertEqual(
                ("" if well else "failed_active_hc", 1),
                (flags, self.mesh.stat("cluster.c.health_check.verify_cluster")),
            )
        self.assertEqual(
            "failed_active_hc", self.checked(OK, "service_name_matcher: {prefix: web}")
        )

    def test_service_and_the_runtime(self) -> None:
        """In so many percent of the cases as the runtime says is the service looked at."""
        for percent, flags in ((100, "failed_active_hc"), (0, "")):
            values = {"health_check.verify_cluster": Entry("", float(percent))}
            self.mesh.main.layers.runtime.update(values)
            self.assertEqual(self.checked(OK, "service_name_matcher: {exact: web}"), flags)

    def test_degraded(self) -> None:
        """A host may say that it is degraded."""
        self.assertEqual(
            "degraded_active_hc", self.checked(status(200, "x-envoy-degraded: true\r\n"))
        )

    def test_excluded(self) -> None:
        """A host that fails may ask not to be counted."""
        excluded = status(503, "X-Envoy-Immediate-Health-Check-Fail: true\r\n")
        self.assertEqual("failed_active_hc/excluded_via_immediate_hc_fail", self.checked(excluded))

    def test_no_http(self) -> None:
        """What is no response is a failure of the network, and ends the connection."""
        self.assertEqual("failed_active_hc", self.checked(b"SSH-2.0-x\r\n\r\n"))
        self.assertEqual(((0, 1, 1), True), (self.counted(), self.server.lines[0].lost))

    def test_event(self) -> None:
        """The status is in the event log."""
        path = self.mktemp()
        self.checked(status(404), more=f"event_log_path: {path}")
        (event,) = [json.loads(line) for line in Path(path).read_text().splitlines()]
        failed = {"failure_type": "ACTIVE", "first_check": True, "http_status_code": 404}
        self.assertEqual(
            ("HTTP", failed), (event["health_checker_type"], event["health_check_failure_event"])
        )


class ConnectionTests(HttpTestCase):
    """What becomes of the connection."""

    def connections(self, response: bytes, more: str = "") -> int:
        """How many connections two checks have taken."""
        self.checked(response, more=more)
        self.again()
        self.assertEqual(2, sum(heard.count(b"GET ") for heard in self.server.heard))
        return len(self.server.lines)

    def test_kept(self) -> None:
        """It is kept, unless the answer or reuse_connection say otherwise."""
        self.assertEqual(1, self.connections(OK))
        self.assertEqual(2, self.connections(OK, "reuse_connection: false"))
        self.assertEqual(2, self.connections(status(200, "connection: close\r\n")))
        self.assertEqual(2, self.connections(OK.replace(b"1.1", b"1.0")))

    def test_closed_between(self) -> None:
        """A host may close it between two checks."""
        self.checked(OK)
        self.server.lines[0].transport.loseConnection()
        self.again()
        self.assertEqual(("", (2, 0, 0)), (self.health(), self.counted()))

    def test_unasked(self) -> None:
        """A host that speaks between two checks is asked again over another connection."""
        self.checked(OK)
        self.server.lines[0].transport.write(OK)
        self.mesh.network.pump()
        self.assertTrue(self.server.lines[0].lost)
        self.again()
        self.assertEqual((2, 0, 0), self.counted())

    def test_body_to_the_end(self) -> None:
        """An answer without a length ends with the connection."""
        self.checked(b"HTTP/1.1 200 OK\r\n\r\nok", "receive: [{text: 6f6b}]")
        self.assertEqual((0, 0, 0), self.counted())
        self.server.lines[0].transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual((1, 0, 0), self.counted())

    def test_cut(self) -> None:
        """A connection that ends before the answer does is a failure of the network."""
        self.checked(OK[:-1])
        self.server.lines[0].transport.loseConnection()
        self.mesh.network.pump()
        self.assertEqual((0, 1, 1), self.counted())

    def test_timeout(self) -> None:
        """An answer that comes too late is none: its connection is closed by then."""
        self.checked(b"")
        self.mesh.network.advance(1)
        self.assertEqual(
            ("failed_active_hc/active_hc_timeout", True), (self.health(), self.server.lines[0].lost)
        )
        self.assertEqual(HOST, self.host().address)
