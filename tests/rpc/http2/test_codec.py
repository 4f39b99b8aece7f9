"""h2, set up for a proxy."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.rpc.http2.codec import FORGET_EVERY, Http2Codec

REQUEST = [(b":method", b"GET"), (b":authority", b"a"), (b":scheme", b"http"), (b":path", b"/")]


class CodecTests(SynchronousTestCase):
    """A client's side, and a server."""

    def test_forgets(self) -> None:
        """Of thousands of streams that are over a few are remembered, however long others last."""
        client = Http2Codec(1 << 14, {})
        server = H2Connection(H2Configuration(client_side=False))
        server.initiate_connection()
        long_lived = client.get_next_available_stream_id()
        client.send_headers(long_lived, REQUEST)
        most = 0
        for _ in range(10 * FORGET_EVERY):
            client.send_headers(client.get_next_available_stream_id(), REQUEST, end_stream=True)
            for event in server.receive_data(client.data_to_send()):
                if isinstance(event, RequestReceived) and event.stream_id != long_lived:
                    server.send_headers(event.stream_id, [(b":status", b"200")], end_stream=True)
            client.receive_data(server.data_to_send())
            most = max(most, len(client.streams))
        self.assertEqual(FORGET_EVERY, most - 1)
        self.assertIn(long_lived, client.streams)
