"""The first line of a request, in pieces of every size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.wire.request_line import (
    HTTP_2,
    HTTP_10,
    HTTP_11,
    NOT_HTTP,
    PREFACE,
    RequestLineReader,
)

#: What Envoy 1.40 has said of each.
SAID = {
    b"GET / HTTP/1.1\r\n": HTTP_11,
    b"GET / HTTP/1.1\n": HTTP_11,
    b"GET / HTTP/1.1 \r\n": HTTP_11,
    b"GET  / HTTP/1.1\r\r\n": HTTP_11,
    b"GET\t/ HTTP/1.1\r\n": HTTP_11,
    b"GET / HTTP/1.1\0\r\n": HTTP_11,
    b"GET /HTTP/1.1\r\n": HTTP_11,
    b"hello / HTTP/1.1\r\n": HTTP_11,
    b"M-SEARCH * HTTP/1.1\r\n": HTTP_11,
    b"CONNECT a:1 HTTP/1.1\r\n": HTTP_11,
    b"CONNECT /a HTTP/1.1\r\n": HTTP_11,
    b"GET http://u@h:1/p?q HTTP/1.1\r\n": HTTP_11,
    b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\n": HTTP_11,
    b"GET /\r\n": HTTP_10,
    b"GET / \r\n": HTTP_10,
    b"GET /HTTP/1.1 \r\n": HTTP_10,
    b"GET / HTTP/1.0\r\n": HTTP_10,
    b"GET / HTTP/0.9\r\n": HTTP_10,
    b"GET / HTTP/2.0\r\n": HTTP_10,
    b"PRI * HTTP/2.0\r\n\r\nX": HTTP_10,
    PREFACE: HTTP_2,
    b"\x16": NOT_HTTP,
    b"\r": NOT_HTTP,
    b"\n": NOT_HTTP,
    b" ": NOT_HTTP,
    b"@": NOT_HTTP,
    b"a:": NOT_HTTP,
    b"he\0": NOT_HTTP,
    b"\xc3": NOT_HTTP,
    b"HTTP/": NOT_HTTP,
    b"hello\n": NOT_HTTP,
    b"GET \r\n": NOT_HTTP,
    b"EHLO x\r\n": NOT_HTTP,
    b"PUT x HTTP/1.1\r\n": NOT_HTTP,
    b"GET / HTTP/1.11\r\n": NOT_HTTP,
    b"GET / HTTP/x\r\n": NOT_HTTP,
    b"GET / HTTPS/1.1\r\n": NOT_HTTP,
    b"GET / x HTTP/1.1\r\n": NOT_HTTP,
    b"GET /\xc3\xa9 HTTP/1.1\r\n": NOT_HTTP,
    b"GET / http/1.1\r\n": NOT_HTTP,
    b"GET http:/a HTTP/1.1\r\n": NOT_HTTP,
    b"GET http://a@@b/ HTTP/1.1\r\n": NOT_HTTP,
    b"CONNECT a^b HTTP/1.1\r\n": NOT_HTTP,
    b"SSH-2.0-OpenSSH\r\n": NOT_HTTP,
}


def read(data: bytes, *cuts: int) -> str | None:
    """What a reader says that is shown these bytes up to each cut, and then all."""
    reader = RequestLineReader()
    for end in (*cuts, len(data)):
        said = reader.read(bytearray(data[:end])) if end else None
        if said is not None:
            return said
    return None


class RequestLineTests(SynchronousTestCase):
    """What is HTTP."""

    def test_said(self) -> None:
        """Each is what it is with its last byte, and nothing before; what follows makes no
        difference.
        """
        for data, said in SAID.items():
            if len(data) < 100:
                for end in range(len(data)):
                    self.assertEqual(None, read(data[:end]), data[:end])
                self.assertEqual(said, read(data, *range(len(data))), data)
            self.assertEqual(said, read(data), data[:50])
            if data != PREFACE[: len(data)]:
                self.assertEqual(said, read(data + b"more\r\n"), data[:50])

    def test_each_byte_once(self) -> None:
        """A line that comes byte by byte is not looked at from its beginning each time."""

        class Counting(bytearray):
            looked_at = 0

            def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
                Counting.looked_at += len(self) - start
                return super().find(sub, start)

        reader, data = RequestLineReader(), Counting()
        for each in b"GET /" + b"a" * 5000:
            data.append(each)
            self.assertEqual(None, reader.read(data))
        self.assertLess(Counting.looked_at, 2 * len(data))

    @given(st.binary(min_size=1, max_size=60), st.lists(st.integers(1, 60), max_size=5))
    def test_anything(self, data: bytes, cuts: list[int]) -> None:
        """No bytes raise an exception, and how they are cut makes no difference."""
        self.assertEqual(read(data), read(data, *sorted(min(cut, len(data)) for cut in cuts)))

    @given(st.sampled_from([each for each in SAID if len(each) < 100]), st.data())
    def test_nearly(self, line: bytes, draw: st.DataObject) -> None:
        """Nor do lines with bytes that were changed, left out or added."""
        data = bytearray(line)
        for _ in range(draw.draw(st.integers(1, 3))):
            at = draw.draw(st.integers(0, len(data)))
            data[at : at + draw.draw(st.integers(0, 1))] = draw.draw(st.binary(max_size=1))
        if data:
            cuts = draw.draw(st.lists(st.integers(1, len(data)), max_size=5))
            self.assertEqual(read(bytes(data)), read(bytes(data), *sorted(cuts)))
