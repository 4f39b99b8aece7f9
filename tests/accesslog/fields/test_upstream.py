"""Operators for the way of a client to its host, as Envoy wrote them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.address import Address
from tcpmesh.values.hosts import HostSpec
from tcpmesh.values.stream.stream_info import REMOTE_RESET, ListenerInfo, UpstreamInfo
from tests.accesslog.known import CLUSTER, connected, known, said

NAMES = [
    "UPSTREAM_HOST",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_HOSTS_ATTEMPTED",
    "UPSTREAM_HOST_NAMES_ATTEMPTED",
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_LOCAL_CLOSE_REASON",
    "UPSTREAM_DETECTED_CLOSE_TYPE",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
]


class UpstreamTests(SynchronousTestCase):
    """What is said of the upstream."""

    def check(self, info: object, expected: str) -> None:
        """All of them, one after the other."""
        words = " ".join(f"%{name}%" for name in NAMES)
        self.assertEqual(said(words, info), " ".join(expected.split()))

    def test_connected(self) -> None:
        """A connection that was made at the second attempt."""
        self.check(
            connected(),
            """
            10.0.0.3:5432 db.example:5432 db.example 10.0.0.2:5432,10.0.0.3:5432
            10.0.0.2:5432,db.example:5432 10.0.0.2,db.example 8 8 database db 2
            delayed_connect_error:_Connection_refused - Normal 10.0.0.1:40000 10.0.0.3:5432
            5432 10.0.0.1
            """,
        )

    def test_failed(self) -> None:
        """Of an attempt that failed the host is known, and no connection."""
        info = known()
        upstream = info.upstream = UpstreamInfo(CLUSTER)
        host = HostSpec(Address("10.0.0.2", 5432))
        upstream.attempted, upstream.failed_host = (host,), host
        self.check(
            info,
            """
            10.0.0.2:5432 10.0.0.2:5432 10.0.0.2 10.0.0.2:5432 10.0.0.2:5432 10.0.0.2 - 0 database
            db 1 - - Normal - - - -
            """,
        )

    def test_none(self) -> None:
        """Of a connection that got no cluster nothing is known, and of one that no network filter
        has seen not even that it ended in order.
        """
        self.check(known(), "- - - - - - - 0 - - 0 - - - - - - -")
        seen = known()
        seen.listener = ListenerInfo(has_filters=True)
        self.check(seen, "- - - - - - - 0 - - 0 - - Normal - - - -")

    def test_end(self) -> None:
        """How its side ended."""
        info = connected()
        info.upstream.close_type = REMOTE_RESET
        info.upstream.local_close_reason = "max_connection_duration_reached"
        text = "%UPSTREAM_DETECTED_CLOSE_TYPE% %UPSTREAM_LOCAL_CLOSE_REASON%"
        self.assertEqual(said(text, info), "RemoteReset max_connection_duration_reached")

    def test_names_without_ports(self) -> None:
        """Only a number after the last colon is a port."""
        names = {"h:80": "h", "h:": "h:", "h:x": "h:x", "h": "h", "/run/x": "/run/x"}
        for name, expected in names.items():
            info = connected()
            info.upstream.attempted = (HostSpec(Address("10.0.0.3", 1), hostname=name),)
            self.assertEqual(said("%UPSTREAM_HOST_NAME_WITHOUT_PORT%", info), expected)
