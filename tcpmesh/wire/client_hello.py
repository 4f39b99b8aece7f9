"""The ClientHello of TLS (RFC 8446, section 4.1.2; RFC 5246): what a client says before anything is
secret, and by which it is routed.

It comes in any number of segments, and in any number of records.  A `ClientHelloReader` is shown
all bytes that have come so far, after each segment; it remembers how far it has got, and looks at a
record once, when the record is complete.  So a hello that comes byte by byte costs no more than its
bytes, and what is not TLS is known by its first five.

It is as strict as Envoy's TLS library and not more, for by what it says a filter chain is chosen:
what these bytes look like to one and not to the other would get past a rule.  So the structure has
to be right and no extension may be there twice, a server name has to be one, and in no other
extension is anything amiss before somebody asks for it.  Different from it: a hello in the form of
SSL 2, which no client has sent for many years, is none.

Nothing that a client may send raises an exception.
"""

from __future__ import annotations

import struct

from tcpmesh.facts import dataclass

RECORD_HEAD = 5
"""Bytes of a record before its content: with these it is clear whether it may be TLS."""

MESSAGE_HEAD = 4

LARGEST_RECORD = (1 << 14) + 256 + 64
"""Bytes of the content of a record, room for encryption included."""

LARGEST_MESSAGE = 1 << 14

MOST_EMPTY = 32
"""Records without content in a row."""

MOST_WARNINGS = 4
"""Warnings in a row."""

ALERT, HANDSHAKE = 21, 22
CLIENT_HELLO = 1

SERVER_NAME, APPLICATION_PROTOCOLS, SUPPORTED_VERSIONS = 0, 16, 43
ENCRYPTED_CLIENT_HELLO = 0xFE0D

LONGEST_NAME = 255
"""Bytes of a server name."""


@dataclass(frozen=True)
class Refusal:
    """Why these bytes begin with no ClientHello: in the words of Envoy's TLS library, and with its
    number.
    """

    number: int
    words: str

    @property
    def text(self) -> str:
        """As Envoy logs it."""
        number = 0x10000000 | self.number
        return (
            f"TLS_error|error:{number:08x}:SSL routines:OPENSSL_internal:{self.words}:TLS_error_end"
        )


BAD_ALERT = Refusal(102, "BAD_ALERT")
MALFORMED = Refusal(131, "CLIENTHELLO_PARSE_FAILED")
WRONG_VERSION = Refusal(133, "CONNECTION_REJECTED")
"""The only one of a ClientHello that can be read: it is of no version that there is."""

DECODE_ERROR = Refusal(137, "DECODE_ERROR")
RECORD_TOO_LONG = Refusal(146, "ENCRYPTED_LENGTH_TOO_LONG")
BAD_NAME = Refusal(149, "ERROR_PARSING_EXTENSION")
MESSAGE_TOO_LONG = Refusal(150, "EXCESSIVE_MESSAGE_SIZE")
PROXY_REQUEST = Refusal(155, "HTTPS_PROXY_REQUEST")
HTTP_REQUEST = Refusal(156, "HTTP_REQUEST")
TOO_MANY_EMPTY = Refusal(219, "TOO_MANY_EMPTY_FRAGMENTS")
TOO_MANY_WARNINGS = Refusal(220, "TOO_MANY_WARNING_ALERTS")
OTHER_MESSAGE = Refusal(223, "UNEXPECTED_MESSAGE")
OTHER_RECORD = Refusal(225, "UNEXPECTED_RECORD")
UNKNOWN_ALERT = Refusal(227, "UNKNOWN_ALERT_TYPE")
NOT_TLS = Refusal(247, "WRONG_VERSION_NUMBER")
MORE_IN_RECORD = Refusal(255, "EXCESS_HANDSHAKE_DATA")

GOODBYE = Refusal(0, "")
"""The client has closed TLS (close_notify) before it began."""

_REQUESTS = {
    b"GET ": HTTP_REQUEST,
    b"POST": HTTP_REQUEST,
    b"HEAD": HTTP_REQUEST,
    b"PUT ": HTTP_REQUEST,
    b"CONN": PROXY_REQUEST,
}


@dataclass(frozen=True)
class ClientHelloMessage:
    """A ClientHello whose structure is right."""

    version: int
    """The `legacy_version`, such as 0x303."""

    cipher_suites: bytes
    """`numbers`, as the client prefers them, GREASE among them."""

    extensions: dict[int, bytes]
    """By their types, in the order of the client."""

    server_name: bytes = b""
    """SNI, as it was sent."""

    @property
    def is_of_known_version(self) -> bool:
        """Whether `version` is one of TLS 1.0 to 1.3."""
        return 0x301 <= self.version <= 0x304

    @property
    def application_protocols(self) -> tuple[bytes, ...]:
        """ALPN: the protocols of the client, most wanted first; none where the list is not as it
        should be.
        """
        data = self.extensions.get(APPLICATION_PROTOCOLS, b"")
        if len(data) < 4 or int.from_bytes(data[:2], "big") != len(data) - 2:
            return ()
        found = []
        at = 2
        while at < len(data):
            end = at + 1 + data[at]
            if end == at + 1 or end > len(data):
                return ()
            found.append(data[at + 1 : end])
            at = end
        return tuple(found)


class ClientHelloReader:
    """Finds the ClientHello in what a client sends."""

    __slots__ = ("_empty", "_message", "_warnings", "consumed")

    def __init__(self) -> None:
        self.consumed = 0
        """Bytes that have been read: complete records, and the head of one that is none."""
        self._message = bytearray()
        """The handshake message, as far as it has come."""
        self._empty = self._warnings = 0

    def read(self, data: bytes | bytearray) -> ClientHelloMessage | Refusal | None:
        """Go on with all bytes that have come, those of earlier calls at their beginning.

        :return: the ClientHello; a `Refusal` where there is none; `None` where more has to come.
            This is not called again after either of the first two.
        """
        said: ClientHelloMessage | Refusal | None = None
        while said is None:
            begin = self.consumed + RECORD_HEAD
            if len(data) < begin:
                return None
            kind, major, _, size = struct.unpack_from("!BBBH", data, self.consumed)
            refusal = self._judge_head(data, major, size)
            if refusal is not None:
                self.consumed = begin
                return refusal
            if len(data) < begin + size:
                return None
            self.consumed = begin + size
            said = self._take(kind, data[begin : begin + size])
        return said

    def _judge_head(self, data: bytes | bytearray, major: int, size: int) -> Refusal | None:
        if not self.consumed:
            request = _REQUESTS.get(bytes(data[:4]))
            if request is HTTP_REQUEST or (request is not None and data[4:5] == b"E"):
                return request
        if major != 3:
            return NOT_TLS
        return RECORD_TOO_LONG if size > LARGEST_RECORD else None

    def _take(self, kind: int, content: bytes | bytearray) -> ClientHelloMessage | Refusal | None:
        """A record is complete."""
        self._empty = 0 if content else self._empty + 1
        if self._empty > MOST_EMPTY:
            return TOO_MANY_EMPTY
        if kind == ALERT:
            return self._take_alert(content)
        if kind != HANDSHAKE:
            return OTHER_RECORD
        self._warnings = 0
        message = self._message
        message += content
        if len(message) < MESSAGE_HEAD:
            return None
        size = int.from_bytes(message[1:MESSAGE_HEAD], "big")
        if size > LARGEST_MESSAGE:
            return MESSAGE_TOO_LONG
        end = MESSAGE_HEAD + size
        if len(message) < end:
            return None
        if message[0] != CLIENT_HELLO:
            return OTHER_MESSAGE
        return parse(bytes(message[MESSAGE_HEAD:end]), is_alone=len(message) == end)

    def _take_alert(self, content: bytes | bytearray) -> Refusal | None:
        if len(content) != 2:
            return BAD_ALERT
        level, description = content
        if level == 2:
            return Refusal(1000 + description, f"reason({1000 + description})")
        if level != 1:
            return UNKNOWN_ALERT
        if not description:
            return GOODBYE
        self._warnings += 1
        return TOO_MANY_WARNINGS if self._warnings > MOST_WARNINGS else None


_NUMBER = struct.Struct("!H")
_EXTENSION = struct.Struct("!HH")
_NAME = struct.Struct("!HBH")
"""The lengths of the list and of the name, and between them the kind of name."""

_AFTER_RANDOM = 34


class _Malformed(Exception):
    """The structure is not right."""


def parse(body: bytes, is_alone: bool = True) -> ClientHelloMessage | Refusal:
    """Read the message without its head.

    :param is_alone: whether there is nothing after it in its last record.
    """
    try:
        version, cipher_suites, extensions = _parts(body)
    except _Malformed:
        return MALFORMED
    if not is_alone:
        return MORE_IN_RECORD
    try:
        _judge_encrypted_hello(extensions)
    except _Malformed:
        return DECODE_ERROR
    try:
        name = _server_name(extensions)
    except _Malformed:
        return BAD_NAME
    return ClientHelloMessage(version, cipher_suites, extensions, name)


def numbers(data: bytes) -> tuple[int, ...]:
    """A list of numbers of two bytes; what may be left over is left out."""
    count = len(data) // 2
    return struct.unpack_from(f"!{count}H", data)


def _parts(data: bytes) -> tuple[int, bytes, dict[int, bytes]]:
    """The version, the cipher suites and the extensions."""
    try:
        version: int = _NUMBER.unpack_from(data)[0]
        at = _AFTER_RANDOM + 1 + data[_AFTER_RANDOM]  # the session id
        suites_end = at + 2 + _NUMBER.unpack_from(data, at)[0]
        cipher_suites = data[at + 2 : suites_end]
        compression_end = suites_end + 1 + data[suites_end]
    except (IndexError, struct.error):
        raise _Malformed from None
    if at > _AFTER_RANDOM + 33 or not cipher_suites or len(cipher_suites) % 2:
        raise _Malformed
    if not suites_end + 1 < compression_end <= len(data):
        raise _Malformed
    return version, cipher_suites, _extensions(data, compression_end)


def _extensions(data: bytes, at: int) -> dict[int, bytes]:
    """Those that begin here, to the end; perhaps there is no room for any."""
    found: dict[int, bytes] = {}
    end = len(data)
    if at == end:
        return found
    try:
        if at + 2 + _NUMBER.unpack_from(data, at)[0] != end:
            raise _Malformed
        at += 2
        while at < end:
            kind, size = _EXTENSION.unpack_from(data, at)
            at += 4 + size
            if at > end or kind in found:
                raise _Malformed
            found[kind] = data[at - size : at]
    except struct.error:
        raise _Malformed from None
    return found


def _judge_encrypted_hello(extensions: dict[int, bytes]) -> None:
    """The outer form of encrypted_client_hello has to be whole (RFC 9849)."""
    data = extensions.get(ENCRYPTED_CLIENT_HELLO)
    if data is None or data[:1] > b"\0":
        return
    try:
        # After the type, the cipher suite and the number of the configuration.
        at = 8 + _NUMBER.unpack_from(data, 6)[0]
        end = at + 2 + _NUMBER.unpack_from(data, at)[0]
    except struct.error:
        raise _Malformed from None
    if end != len(data):
        raise _Malformed


def _server_name(extensions: dict[int, bytes]) -> bytes:
    """The one name, of a host (RFC 6066, section 3); empty where there is no extension."""
    data = extensions.get(SERVER_NAME)
    if data is None:
        return b""
    name = data[_NAME.size :]
    if not 0 < len(name) <= LONGEST_NAME or b"\0" in name:
        raise _Malformed
    if _NAME.unpack_from(data) != (len(data) - 2, 0, len(name)):
        raise _Malformed
    return name
