"""The first line of a request in HTTP/1, or the preface of HTTP/2 in its place: what tells that a
client without TLS speaks HTTP, and in which version.

A `RequestLineReader` is shown all bytes that have come so far, after each segment, and looks at
each byte once.  It is as strict as Envoy's parser: the method is a token, so any other byte in it
ends the matter at once; what follows is judged once the line has ended.

Nothing that a client may send raises an exception.
"""

from __future__ import annotations

import re

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client begins HTTP/2 with (RFC 9113, section 3.4)."""

HTTP_10, HTTP_11, HTTP_2 = "http/1.0", "http/1.1", "h2c"
"""What the protocols are called that a client without TLS may speak."""

NOT_HTTP = ""

_NO_TOKEN = re.compile(rb"[^!#$%&'*+\-.^_`|~0-9A-Za-z]")

_WITH_VERSION = re.compile(
    rb"([^\0- ]+)[\t\v\f\r ][\0- ]*([^\0- ]+)[\0- ]+(HTTP/[0-9]\.[0-9])[\0- ]*\Z"
)
_WITHOUT_VERSION = re.compile(rb"([^\0- ]+)[\t\r ]+([^\0- ]+)([\t\r ]*)\Z")
"""Method and target, and the version or blanks."""

_PATH = rb"[!-~]*"
_HOST = rb"(?!.*@@)[0-9A-Za-z!$%&'()*+,\-.:;=@\[\]_~]*"
_TARGET = re.compile(
    rb"[/*]" + _PATH + rb"|[A-Za-z][0-9A-Za-z+\-.]*://" + _HOST + rb"(?:[/?]" + _PATH + rb")?"
)
_TARGET_OF_CONNECT = re.compile(rb"[/*]" + _PATH + rb"|" + _HOST + rb"(?:[/?]" + _PATH + rb")?")


class RequestLineReader:
    """Finds out what a client speaks."""

    __slots__ = ("_has_method", "_seen")

    def __init__(self) -> None:
        self._seen = 0
        """Bytes in which there is no end of the line."""
        self._has_method = False
        """Whether there is a blank in them."""

    def read(self, data: bytes | bytearray) -> str | None:
        """Go on with all bytes that have come, those of earlier calls at their beginning.

        :return: the protocol, `NOT_HTTP` where it is another one, `None` where more has to come.
        """
        if data[: len(PREFACE)] == PREFACE[: len(data)]:
            return HTTP_2 if len(data) >= len(PREFACE) else None
        end = data.find(b"\n", self._seen)
        if not self._has_method and not self._judge_method(data, end):
            return NOT_HTTP
        if end < 0:
            self._seen = len(data)
            return None
        return _version(bytes(data[:end]))

    def _judge_method(self, data: bytes | bytearray, end: int) -> bool:
        """Whether all that is there of the method may be part of one."""
        other = _NO_TOKEN.search(data, self._seen, len(data) if end < 0 else end)
        if other is None:
            return end != 0
        self._has_method = other.start() > 0 and other[0] in b" \t\v\f\r"
        return self._has_method


def _version(line: bytes) -> str:
    """What a whole line says."""
    line = line.rstrip(b"\r")
    found = _WITH_VERSION.match(line) or _WITHOUT_VERSION.match(line)
    if found is None:
        return NOT_HTTP
    method, target, version = found.groups()
    form = _TARGET_OF_CONNECT if method == b"CONNECT" else _TARGET
    if _NO_TOKEN.search(method) or form.fullmatch(target) is None:
        return NOT_HTTP
    # What stands at the end is the version, be there a blank before it or not: as Envoy sees it.
    return HTTP_11 if (version or target).endswith(b"HTTP/1.1") else HTTP_10
