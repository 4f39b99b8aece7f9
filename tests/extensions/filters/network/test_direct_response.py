"""direct_response: the same answer for everybody."""

from __future__ import annotations

from envoy.extensions.filters.network.direct_response.v3 import config_pb2

from tests.mesh import FRONT, MeshTestCase

FILTER = f"type.googleapis.com/{config_pb2.Config.DESCRIPTOR.full_name}"


class ResponseTests(MeshTestCase):
    """Clients of a chain with a direct response."""

    def answer(self, response: str, say: bytes = b"") -> bytes:
        """What a client gets before it is closed."""
        self.mesh.add_listener(
            "l", FRONT, f'[{{name: d, typed_config: {{"@type": {FILTER}, response: {response}}}}}]'
        )
        self.mesh.listeners.start()
        client = self.mesh.connect()
        if say:
            client.transport.write(say)
        client.transport.loseConnection()
        self.mesh.network.pump()
        self.assertTrue(client.lost)
        self.assertEqual(self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"), 0)
        return bytes(client.received)

    def test_text(self) -> None:
        """The text goes to the client, and the connection ends."""
        self.assertEqual(self.answer("{inline_string: 'sorry'}"), b"sorry")

    def test_details(self) -> None:
        """A log of the listener has Envoy's word for it (RESPONSE_CODE_DETAILS)."""
        self.answer("{}")
        self.assertEqual("direct_response", self.mesh.connections[-1].stream_info.details)

    def test_nothing(self) -> None:
        """Without a text it only ends."""
        self.assertEqual(self.answer("{}"), b"")

    def test_file(self) -> None:
        """The answer may be the bytes of a file."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"\xff\x00")
        self.assertEqual(self.answer(f"{{filename: {path}}}"), b"\xff\x00")

    def test_what_it_says(self) -> None:
        """What the client says makes no difference to what it gets."""
        self.assertEqual(self.answer("{inline_string: 'sorry'}", b"x" * 100_000), b"sorry")
