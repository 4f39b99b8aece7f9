"""The functions of OpenSSL beneath pyOpenSSL: only the modules of this folder know of them.

pyOpenSSL's public methods make contexts (`tcpmesh.net.tls.context`).  They cost a third more for
each message than the compiled functions below them, and they have none for lists of curves and
signature algorithms, for the alert that answers a verdict, or for which certificate a name gets.
These are here, as they are in the binding that cryptography brings along (`OpenSSL._util.lib`),
which may lose them.  What is used for each record is used by `CompiledEngine` alone
(`tcpmesh.net.tls.openssl.engine`), and where one of it is missing
`tcpmesh.net.tls.openssl.public` takes its place.

Two rules keep one connection from meddling with another.  The queue of OpenSSL's errors belongs to
the thread: it is emptied before something is done that may fail, and whoever finds an error takes
all of them.  And buffers are taken from `BUFFERS` and given back, for transports upon transports
use several at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import crypto
from OpenSSL._util import ffi, lib

from tcpmesh.facts import dataclass

PIECE = 1 << 18
"""At most so many bytes are sealed or opened in one call."""

HEADER = 5
"""Bytes before those of a record: type, version, length."""

RECORD = 1 << 14
"""Plain bytes of the largest record."""

ROOM = PIECE + (1 << 15)
"""Those of a buffer: a piece, and what sealing adds to it, or a record that was begun before it."""


@dataclass(frozen=True)
class LibraryError:
    """One entry of OpenSSL's queue of errors."""

    code: int
    """Library and reason, packed."""

    reason: int
    """The number of the reason alone, within its library."""

    text: str


class TlsError(Exception):
    """OpenSSL refuses to go on with a connection.

    :param errors: why, the first first; none where it has not said.
    """

    def __init__(self, errors: Sequence[LibraryError]) -> None:
        super().__init__("; ".join(each.text for each in errors) or "no reason given")
        self.errors = tuple(errors)


def take_errors() -> tuple[LibraryError, ...]:
    """Empty the queue of errors."""
    found = []
    while code := lib.ERR_get_error():
        text = lib.ERR_reason_error_string(code)
        words = ffi.string(text).decode("ascii", "replace") if text else f"error {code:#x}"
        found.append(LibraryError(code, lib.ERR_GET_REASON(code), words))
    return tuple(found)


def set_purpose(store: crypto.X509Store, purpose: int) -> None:
    """Say what the certificates are used for that are held against a store: an
    `X509_PURPOSE_...`.
    """
    lib.X509_STORE_set_purpose(store._store, purpose)


class Buffer:
    """Bytes that both Python and OpenSSL can get at."""

    __slots__ = ("pointer", "view")

    def __init__(self) -> None:
        self.view = memoryview(bytearray(ROOM))
        self.pointer = ffi.from_buffer(self.view)


BUFFERS: list[Buffer] = []
"""Those that nobody uses: whoever needs one takes the last, or makes one, and appends it once
nobody looks at it any more.
"""


class Broken(TlsError):
    """A connection is broken: the peer has sent what it must not, or an alert.

    :param count: plain bytes that were read before.
    """

    def __init__(self, errors: Sequence[LibraryError], count: int) -> None:
        super().__init__(errors)
        self.count = count


def memory() -> Any:
    """A BIO of which nothing can be read before something was written."""
    return lib.BIO_new(lib.BIO_s_mem())


def text_of(found: Any) -> str:
    return ffi.string(found).decode("ascii", "replace") if found else ""


def server_name_of(ssl: Any) -> str:
    return text_of(lib.SSL_get_servername(ssl, lib.TLSEXT_NAMETYPE_host_name))


def session_name(session: Any) -> str:
    """The name of a session in hexadecimal; empty for one without."""
    size = lib.i2d_SSL_SESSION(session, ffi.NULL)
    if size <= 0:
        return ""
    # No getter is left, so it is read where it stands in DER: after two numbers and the cipher, and
    # before the secret, which stays where it is.
    held = ffi.new("unsigned char[]", size)
    lib.i2d_SSL_SESSION(session, ffi.new("unsigned char **", held))
    at = 2 + (held[1] & 0x7F if held[1] & 0x80 else 0)
    for _ in range(3):
        at += 2 + held[at + 1]
    return bytes(ffi.buffer(held + at + 2, held[at + 1])).hex()


def der(certificate: Any) -> bytes:
    bio = ffi.gc(memory(), lib.BIO_free)
    lib.i2d_X509_bio(bio, certificate)
    data = ffi.new("char **")
    size = lib.BIO_get_mem_data(bio, data)
    return bytes(ffi.buffer(data[0], size))


def members(stack: Any) -> list[Any]:
    if stack == ffi.NULL:
        return []
    return [lib.sk_X509_value(stack, at) for at in range(lib.sk_X509_num(stack))]
