"""What OpenSSL does for one connection, without a socket.

Theory of operation.  An *engine* is one connection.  Ciphertext goes in, plain bytes come out, and
the other way round; it never waits.  Each has two memory BIOs.  What came from the network is read
where it lies where it is much, so the view has to be valid until the call returns, and nothing of
it is left behind then.  What is sealed is taken out record by record, so the BIO stays small, and
goes to the network in one piece.

*After the handshake* a peer may send more than plain bytes: changes of keys, tickets, warnings, and
in TLS 1.2 the wish to shake hands once more.  OpenSSL takes any number of the first two in one call
and answers what asks for it, so both are bounded here (`informed`), as BoringSSL does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from tcpmesh.net.tls.openssl.callbacks import EngineContext, running, watch
from tcpmesh.net.tls.openssl.library import (
    RECORD,
    ROOM,
    Broken,
    Buffer,
    LibraryError,
    TlsError,
    der,
    members,
    memory,
    server_name_of,
    take_errors,
    text_of,
)

_LARGE, _FLIGHT = 1 << 12, 1 << 10
"""Records, and what is said in a handshake, up to these sizes may keep their room in the BIO."""

_SMALL = 1 << 13
"""Ciphertext up to this size is copied; more is read where it lies."""

_MOST_CHANGES = 64
"""So many changes of keys, answers to them and tickets in a row are the last.  BoringSSL bears 32
changes, and with an answer each are two.
"""

_MOST_AT_ONCE = 128
"""The same in one call, plain bytes between them or not: it takes a millisecond or two."""

_NO_RENEGOTIATION = 100
"""The alert."""

_WRONG = b"\x16\x03\x03\0\1\0"
"""A record that TLS 1.3 answers with the alert `unexpected_message` once the handshake is over."""

_RENEGOTIATION = LibraryError(0x0A000153, 339, "no renegotiation")
_TOO_MANY = LibraryError(0x0A000000, 0, "too many key updates")

VERSION_1_3 = lib.TLS1_3_VERSION

_WANTS = (lib.SSL_ERROR_WANT_READ, lib.SSL_ERROR_WANT_WRITE)

_LONGEST_NAME = 255
"""Bytes of a name that is asked for, at most: TLSEXT_MAXLEN_host_name."""


class CompiledEngine:
    """One connection, on the compiled functions."""

    __slots__ = (
        "_at_once",
        "_begun_with",
        "_changes",
        "_incoming",
        "_outgoing",
        "_reading",
        "_refusal",
        "_ssl",
        "answers",
        "certificates",
        "chain",
        "context",
        "ended",
        "established",
        "judged",
        "owner",
        "refused",
        "version_number",
    )

    def __init__(self, context: EngineContext, made: SSL.Context, owner: Any) -> None:
        """`owner` is whom the context's methods find as the engine's `owner`."""
        self._ssl: Any = None
        self._incoming = self._reading = self._outgoing = None
        self._start(made)
        self.version_number = 0
        """That of the protocol, once it is agreed on."""
        self._begun_with: Any = None
        """The session of the handshake: held, so that no other can have its address."""
        self._changes = self._at_once = 0
        """What else than plain bytes came since the last of those, and in this call."""
        self._refusal: LibraryError | None = None
        """Why no more of that is taken."""
        self.answers = False
        """Whether OpenSSL may have something to say by itself: to be set back by who takes it."""
        self.ended = False
        """Whether the peer has said that it sends no more."""
        self.established = False
        """Whether a handshake was over: the next one, if there is one, negotiates anew."""
        self.refused = False
        """Whether a callback has failed."""
        self.judged: int | None = None
        """0 where the peer's certificates were accepted in this handshake, an X509_V_ERR where they
        were not, `None` where nobody was asked.
        """
        self.chain: tuple[bytes, ...] = ()
        """What was judged."""
        self.certificates: list[Any] = []
        """The same, as OpenSSL has it."""
        self.context = context
        self.owner = owner
        if context.is_server:
            lib.SSL_set_accept_state(self._ssl)
        else:
            lib.SSL_set_connect_state(self._ssl)

    def _start(self, made: SSL.Context) -> None:
        """Make what OpenSSL has for a connection."""
        ssl = lib.SSL_new(made._context)
        if ssl == ffi.NULL:
            raise TlsError(take_errors())
        self._ssl = ffi.gc(ssl, lib.SSL_free)
        kind = lib.BIO_s_mem()
        self._reading = self._incoming = incoming = lib.BIO_new(kind)
        self._outgoing = outgoing = lib.BIO_new(kind)
        lib.SSL_set_bio(ssl, incoming, outgoing)

    # Bytes

    def handshake(self, data: Any) -> bool:
        """Take bytes from the network; whether the handshake is over.

        :raise TlsError: it has failed, and there may be an alert to be sent.
        """
        ssl = self._ssl
        lib.ERR_clear_error()
        self._put(data)
        running.append(self)
        try:
            result = lib.SSL_do_handshake(ssl)
        finally:
            running.pop()
        if result == 1 and not self.refused:
            watch(ssl)
            self.note_version()
            self.established = True
            return True
        if self.refused or lib.SSL_get_error(ssl, result) not in _WANTS:
            raise TlsError(take_errors())
        return False

    def open(self, data: Any, plain: Buffer) -> int:
        """Take bytes from the network, at most a `PIECE`; see `ended` too.

        :return: how many plain bytes are in the buffer now.
        :raise Broken: the connection is, with what was read before that.
        """
        ssl, pointer, size = self._ssl, plain.pointer, len(data)
        lib.ERR_clear_error()
        if size > _SMALL or self._incoming is None:
            self._put(data)
        elif size:
            lib.BIO_write(self._incoming, ffi.from_buffer(data), size)
        running.append(self)
        try:
            count: int = lib.SSL_read(ssl, pointer, ROOM)
            # To ask whether there is more takes a fifth of trying to read it.
            if count <= 0 or lib.BIO_get_mem_data(self._reading, ffi.NULL) or self._refusal:
                return self._read_on(pointer, count)
        finally:
            running.pop()
        self._changes = self._at_once = 0
        return count

    def _read_on(self, pointer: Any, result: int) -> int:
        """What has come is more than one record of plain bytes, or is none: read to its end."""
        count = 0
        while result > 0:
            count += result
            self._changes = 0
            if not lib.BIO_get_mem_data(self._reading, ffi.NULL):
                break
            result = lib.SSL_read(self._ssl, pointer + count, ROOM - count)
        self._at_once = 0
        if result <= 0 or self._refusal is not None:
            self._stopped(result, count)
        return count

    def seal(self, data: Any, sealed: Buffer) -> int:
        """Make records of plain bytes, at most a `PIECE`; what was to be sent before goes first.

        :return: how many bytes are in the buffer now, to be sent.
        :raise TlsError: it cannot.
        """
        size, source, target = len(data), ffi.from_buffer(data), sealed.pointer
        if size <= RECORD:
            if lib.SSL_write(self._ssl, source, size) != size:
                raise TlsError(take_errors())
            count: int = lib.BIO_read(self._outgoing, target, ROOM)
            if count > _LARGE:
                self._give_up_room()
            return count
        ssl, outgoing, count = self._ssl, self._outgoing, 0
        for start in range(0, size, RECORD):
            length = min(RECORD, size - start)
            if lib.SSL_write(ssl, source + start, length) != length:
                raise TlsError(take_errors())
            count += lib.BIO_read(outgoing, target + count, ROOM - count)
        self._give_up_room()
        return count

    def take(self, sealed: Buffer) -> int:
        """What is to be sent though nobody has written anything: how many bytes are in the buffer
        now, none where it is negative.
        """
        count: int = lib.BIO_read(self._outgoing, sealed.pointer, ROOM)
        if count > _FLIGHT:
            self._give_up_room()
        return count

    def _give_up_room(self) -> None:
        """Let go of a BIO that has grown: it would be as large as long as the connection lasts."""
        self._outgoing = memory()
        lib.SSL_set_bio(self._ssl, self._reading, self._outgoing)

    def say_goodbye(self) -> None:
        """Make the record that ends this side's stream, close_notify."""
        lib.SSL_shutdown(self._ssl)
        lib.ERR_clear_error()

    def release(self) -> None:
        """Free all that is held; nothing else may be called any more."""
        ssl, self._ssl = self._ssl, None
        self._incoming = self._reading = self._outgoing = self._begun_with = None
        if ssl is not None:
            ffi.release(ssl)
        self.owner = None

    def _put(self, data: Any) -> None:
        """Lay bytes where OpenSSL reads."""
        size = len(data)
        if size > _SMALL:
            incoming = lib.BIO_new_mem_buf(ffi.from_buffer(data), size)
            lib.BIO_set_mem_eof_return(incoming, -1)
            lib.SSL_set_bio(self._ssl, incoming, self._outgoing)
            self._incoming, self._reading = None, incoming
            return
        if size:
            if self._incoming is None:
                self._incoming = self._reading = memory()
                lib.SSL_set_bio(self._ssl, self._incoming, self._outgoing)
            lib.BIO_write(self._incoming, ffi.from_buffer(data), size)

    def informed(self, where: int, value: int) -> None:
        """OpenSSL has done something else than to read or write plain bytes: `where` and `value`
        are those of its info callback.
        """
        if where & lib.SSL_CB_ALERT:
            if where & lib.SSL_CB_WRITE:
                self.answers = True
                if value & 0xFF == _NO_RENEGOTIATION:
                    self._refuse(_RENEGOTIATION)
            return
        self.answers = True
        if where & lib.SSL_CB_EXIT:
            self._changes += 1
            self._at_once += 1
            if self._changes > _MOST_CHANGES or self._at_once > _MOST_AT_ONCE:
                self._refuse(_TOO_MANY)

    def _refuse(self, why: LibraryError) -> None:
        """Let OpenSSL find no more to read, though more has come."""
        if self._refusal is None:
            self._refusal = why
            self._leave_unread()

    def _leave_unread(self) -> None:
        scratch = Buffer()
        while lib.BIO_read(self._reading, scratch.pointer, ROOM) > 0:
            pass

    def _refused(self, count: int) -> Broken:
        """What is raised where no more is taken; there is an alert to be sent then."""
        why = self._refusal
        assert why is not None
        if self.is_1_3:
            self._put(_WRONG)
            lib.SSL_read(self._ssl, ffi.new("char[1]"), 1)
        take_errors()
        return Broken((why,), count)

    def _stopped(self, result: int, count: int) -> None:
        """There is nothing more to be read: find out why."""
        if self._refusal is not None:
            raise self._refused(count)
        error = lib.SSL_get_error(self._ssl, result)
        if error == lib.SSL_ERROR_ZERO_RETURN:
            self.ended = True
        elif error not in _WANTS:
            raise Broken(take_errors(), count)

    # Facts

    def note_version(self) -> None:
        """The version is agreed on."""
        self.version_number = lib.SSL_version(self._ssl)

    @property
    def has_more(self) -> bool:
        """Whether bytes have come that the handshake has left."""
        return bool(lib.BIO_get_mem_data(self._reading, ffi.NULL))

    @property
    def agreed(self) -> tuple[tuple[int, Any, Any], bool, str]:
        """Of a handshake that is over: version, cipher and group, as OpenSSL has them, which are
        equal wherever a context has agreed on the same; whether a session was resumed; and the name
        that was asked for.
        """
        ssl = self._ssl
        name = lib.SSL_get_servername(ssl, lib.TLSEXT_NAMETYPE_host_name)
        cipher, group = lib.SSL_get_current_cipher(ssl), lib.SSL_get0_group_name(ssl)
        return (
            (self.version_number, cipher, group),
            lib.SSL_session_reused(ssl) == 1,
            text_of(name) if name else "",
        )

    @property
    def version(self) -> str:
        """The version of the protocol, as `TLSv1.3`."""
        return text_of(lib.SSL_get_version(self._ssl))

    @property
    def is_1_3(self) -> bool:
        """Whether it is TLS 1.3, in a handshake that is over or has come to the certificates."""
        return bool(self.version_number == VERSION_1_3)

    @property
    def cipher(self) -> str:
        """The name of the cipher, OpenSSL's."""
        found = lib.SSL_get_current_cipher(self._ssl)
        return text_of(lib.SSL_CIPHER_get_name(found)) if found != ffi.NULL else ""

    @property
    def group(self) -> str:
        """The name of the key exchange, OpenSSL's; empty where a session was resumed without."""
        if lib.SSL_get_session(self._ssl) == ffi.NULL:
            return ""
        return text_of(lib.SSL_get0_group_name(self._ssl))

    @property
    def reused(self) -> bool:
        """Whether a session was resumed."""
        return bool(lib.SSL_session_reused(self._ssl))

    @property
    def protocol(self) -> str:
        """The application protocol, empty for none."""
        data, size = ffi.new("unsigned char **"), ffi.new("unsigned int *")
        lib.SSL_get0_alpn_selected(self._ssl, data, size)
        return ffi.buffer(data[0], size[0])[:].decode("latin-1") if size[0] else ""

    @property
    def server_name(self) -> str:
        """The name that the client asked for."""
        return server_name_of(self._ssl)

    @property
    def verify_result(self) -> int:
        """0 where the peer was accepted, in this handshake or in that of the session resumed."""
        result: int = lib.SSL_get_verify_result(self._ssl)
        return result

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        """The peer's certificates in DER, its own first."""
        leaf = lib.SSL_get_peer_certificate(self._ssl)
        if leaf == ffi.NULL:
            return ()
        lib.X509_free(leaf)  # the connection has it too
        shown = members(lib.SSL_get_peer_cert_chain(self._ssl))
        if not shown or shown[0] != leaf:
            shown.insert(0, leaf)
        return self.chain if shown == self.certificates else tuple(map(der, shown))

    @property
    def local_certificate(self) -> bytes:
        """This side's certificate in DER, empty for none."""
        found = lib.SSL_get_certificate(self._ssl)
        return der(found) if found != ffi.NULL else b""

    @property
    def has_peer_certificate(self) -> bool:
        """Whether the peer has shown a certificate, in this handshake or in that of the session
        resumed.
        """
        leaf = lib.SSL_get_peer_certificate(self._ssl)
        if leaf == ffi.NULL:
            return False
        lib.X509_free(leaf)
        return True

    # Sessions

    def ask_for(self, server_name: str) -> None:
        """Send this name (SNI), whatever bytes it has, as it may be what a client has asked for;
        the handshake fails where OpenSSL takes none of its length.
        """
        name = server_name.encode("utf-8", "surrogateescape").partition(b"\0")[0]
        if 0 < len(name) <= _LONGEST_NAME:
            lib.SSL_set_tlsext_host_name(self._ssl, name)
        else:
            self.refused = True

    def offer(self, protocols: Sequence[bytes]) -> None:
        """Offer these application protocols, the best first."""
        wire = b"".join(bytes((len(each),)) + each for each in protocols)
        lib.SSL_set_alpn_protos(self._ssl, wire, len(wire))

    def resume(self, session: Any) -> None:
        """Try to resume a session that another engine of the same context had."""
        lib.SSL_set_session(self._ssl, session)
        lib.ERR_clear_error()

    @property
    def has_ticket(self) -> bool:
        """Whether a host has sent a ticket since this was first asked, which makes another session
        of the connection's.
        """
        if self._begun_with is None:
            self._begun_with = self.session()
        return bool(lib.SSL_get_session(self._ssl) != self._begun_with)

    def session(self) -> Any:
        """The session, to be resumed by another engine."""
        return ffi.gc(lib.SSL_get1_session(self._ssl), lib.SSL_SESSION_free)
