"""What is known about a connection."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.values.address import Address
from tcpmesh.values.stream.close_reason import CLIENT_DONE, RESETS, CloseReason
from tcpmesh.values.stream.phase import RELAYING
from tcpmesh.values.stream.stream_info import NO_UPSTREAM, StreamInfo, UpstreamInfo

HOST_RESET = RESETS[False, RELAYING]


class Socket:
    """The addresses of a socket."""

    def getPeer(self) -> Address:
        return Address("10.0.0.1", 1)

    def getHost(self) -> Address:
        return Address("10.0.0.2", 2)


class StreamInfoTests(SynchronousTestCase):
    """A `StreamInfo`."""

    def test_addresses(self) -> None:
        """The addresses are those of the socket, unless a listener filter knows better; the direct
        ones always.
        """
        info = StreamInfo(1, Socket())
        self.assertEqual("10.0.0.1:1 10.0.0.2:2", f"{info.remote_address} {info.local_address}")
        info.restored_remote, info.restored_local = Address("1.1.1.1", 1), Address("2.2.2.2", 2)
        self.assertEqual("1.1.1.1:1 2.2.2.2:2", f"{info.remote_address} {info.local_address}")
        self.assertEqual(
            "10.0.0.1:1 10.0.0.2:2", f"{info.direct_remote_address} {info.direct_local_address}"
        )

    def test_no_connection(self) -> None:
        """What is no connection, such as a health check, has the loopback address at both ends."""
        info = StreamInfo()
        self.assertEqual(["127.0.0.1:0"] * 2, [str(info.remote_address), str(info.local_address)])

    def test_why(self) -> None:
        """The first reason for the end stays, but any other goes before an end of stream."""

        def last_of(*reasons: CloseReason) -> CloseReason | None:
            info = StreamInfo()
            for reason in reasons:
                info.close(reason)
            return info.close_reason

        self.assertEqual(HOST_RESET, last_of(CLIENT_DONE, HOST_RESET))
        self.assertEqual(HOST_RESET, last_of(HOST_RESET, CLIENT_DONE))
        self.assertIsNone(last_of())

    def test_no_dictionary(self) -> None:
        """Both records have slots only: a misspelt fact is a mistake that is noticed."""
        for record in (StreamInfo(), UpstreamInfo()):
            self.assertFalse(hasattr(record, "__dict__"))

    def test_no_upstream(self) -> None:
        """Where there is no upstream connection, it has no addresses and no failure."""
        self.assertEqual(
            (None, None, ""),
            (NO_UPSTREAM.local_address, NO_UPSTREAM.remote_address, NO_UPSTREAM.failure_reason),
        )
