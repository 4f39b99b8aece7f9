"""The same engine on pyOpenSSL's public methods: for a cryptography that has lost one of the
functions that `CompiledEngine` moves records with.

It costs a third more for each message, and errors are told by their words alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import lib

from tcpmesh.net.tls.openssl.callbacks import running, watch
from tcpmesh.net.tls.openssl.engine import CompiledEngine
from tcpmesh.net.tls.openssl.library import (
    RECORD,
    Broken,
    Buffer,
    LibraryError,
    TlsError,
    take_errors,
)

RECORD_FUNCTIONS = (
    "BIO_get_mem_data",
    "BIO_new",
    "BIO_new_mem_buf",
    "BIO_read",
    "BIO_s_mem",
    "BIO_set_mem_eof_return",
    "BIO_write",
    "SSL_do_handshake",
    "SSL_free",
    "SSL_get_error",
    "SSL_new",
    "SSL_read",
    "SSL_set_bio",
    "SSL_shutdown",
    "SSL_write",
)
"""What `CompiledEngine` moves records with."""

_SSL_ROUTINES = 20 << 23
_SLICE = 1 << 15
_REASONS = {"peer did not return a certificate": 199, "certificate verify failed": 134}
"""The numbers of those reasons by which something is counted."""


class PublicEngine(CompiledEngine):
    """See the module's text."""

    __slots__ = ("_connection",)

    def _start(self, made: SSL.Context) -> None:
        self._connection: Any = SSL.Connection(made, None)
        self._ssl = self._connection._ssl

    def handshake(self, data: Any) -> bool:
        """As `CompiledEngine.handshake`."""
        take_errors()
        self._put(data)
        running.append(self)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            if self.refused:
                raise TlsError(()) from None
            return False
        except SSL.Error as error:
            raise TlsError(_errors(error)) from None
        finally:
            running.pop()
        if self.refused:
            raise TlsError(())
        watch(self._ssl)
        self.note_version()
        self.established = True
        return True

    def open(self, data: Any, plain: Buffer) -> int:
        """As `CompiledEngine.open`."""
        take_errors()
        self._put(data)
        running.append(self)
        try:
            return self._read_into(plain)
        finally:
            running.pop()

    def _read_into(self, plain: Buffer) -> int:
        count = 0
        while True:
            try:
                count += self._connection.recv_into(plain.view[count:])
                self._changes = 0
            except SSL.WantReadError:
                self._at_once = 0
                if self._refusal is not None:
                    raise self._refused(count) from None
                return count
            except SSL.ZeroReturnError:
                self.ended = True
                return count
            except SSL.Error as error:
                raise Broken(_errors(error), count) from None

    def seal(self, data: Any, sealed: Buffer) -> int:
        """As `CompiledEngine.seal`."""
        view = memoryview(data)
        try:
            for start in range(0, len(view), RECORD):
                self._connection.sendall(view[start : start + RECORD])
        except SSL.Error as error:
            raise TlsError(_errors(error)) from None
        return self.take(sealed)

    def take(self, sealed: Buffer) -> int:
        """As `CompiledEngine.take`."""
        count = 0
        while True:
            try:
                found = self._connection.bio_read(_SLICE)
            except SSL.Error:
                return count
            sealed.view[count : count + len(found)] = found
            count += len(found)

    def say_goodbye(self) -> None:
        """As `CompiledEngine.say_goodbye`."""
        with suppress(SSL.Error):
            self._connection.shutdown()

    def release(self) -> None:
        """As `CompiledEngine.release`."""
        self._connection = self._ssl = self.owner = self._begun_with = None

    @property
    def has_more(self) -> bool:
        """As `CompiledEngine.has_more`, which has no public method."""
        return True

    def _put(self, data: Any) -> None:
        at, view = 0, memoryview(data)
        while at < len(view):
            at += self._connection.bio_write(bytes(view[at : at + _SLICE]))

    def _leave_unread(self) -> None:
        """There is no public method for it: what has come is still read, and no more after it."""

    def _refused(self, count: int) -> Broken:
        assert self._refusal is not None
        take_errors()
        return Broken((self._refusal,), count)


def _errors(error: SSL.Error) -> Sequence[LibraryError]:
    """What pyOpenSSL has found in the queue of errors: words alone."""
    found = error.args[0] if error.args and isinstance(error.args[0], list) else []
    words = [reason for _, _, reason in found]
    return [
        LibraryError(_SSL_ROUTINES | _REASONS.get(each, 0), _REASONS.get(each, 0), each)
        for each in words
    ]


def engine_class() -> type[CompiledEngine]:
    """The engine for this cryptography."""
    there = all(hasattr(lib, name) for name in RECORD_FUNCTIONS)
    return CompiledEngine if there else PublicEngine
