"""What OpenSSL asks in the course of a handshake, and what is set on a context beyond pyOpenSSL's
methods.

Callbacks are made once, and find the engine that has called OpenSSL in `running`.  One that raises
is logged, and refuses: C gets the failure as the result, and the engine is marked, so nobody has to
trust the result alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

from OpenSSL import SSL
from OpenSSL._util import ffi, lib

from twisted.logger import Logger
from twisted.python.failure import Failure

from tcpmesh.net.tls.openssl.library import der, members, server_name_of, take_errors

log = Logger(namespace="connection")

_PRIORITIZE_CHACHA = 1 << 21
"""SSL_OP_PRIORITIZE_CHACHA: a client that prefers ChaCha20 gets it though the server decides."""

_KEY_TOO_SMALL = 66
"""X509_V_ERR_EE_KEY_TOO_SMALL."""

_REJECTED = 28
"""X509_V_ERR_CERT_REJECTED."""

_OK, _ALERT, _NONE = 0, 2, 3
"""What SSL_TLSEXT_ERR_OK, _ALERT_FATAL and _NOACK are."""


class EngineContext(Protocol):
    """Whose settings an engine follows, and who decides in its handshake."""

    is_server: bool
    prefers_own_ciphers: bool
    prefers_what_client_does: bool
    chooses_by_name: bool

    def verify(self, engine: Any, chain: tuple[bytes, ...]) -> int:
        """Judge the peer's certificates, in DER, the peer's own first, and note the verdict.

        :return: 0 where they are accepted; otherwise what the alert says, an X509_V_ERR.
        """

    def select_protocol(self, offered: tuple[bytes, ...]) -> bytes | None:
        """Which of the application protocols that a client offers is used, if any."""

    def select_context(self, server_name: str) -> SSL.Context | None:
        """Whose certificates a client gets that asks for this name; `None` for those of the context
        that the connection was begun with.
        """

    def staple(self, engine: Any, leaf: bytes) -> bytes | None:
        """The OCSP response for a client that asks for one, and gets this certificate: empty to
        refuse the client, `None` for nothing.
        """

    def log_secret(self, engine: Any, line: bytes) -> None:
        """Secrets of a handshake, in the NSS key log format."""


running: list[Any] = []
"""The engine that has called OpenSSL for a step of its handshake, or to read, if one has."""


def guarded(signature: str, failure: int | None) -> Callable[[Callable[..., Any]], Any]:
    """Make a C callback of a function; where that raises, C gets `failure`."""

    def refuse(kind: Any, error: Any, traceback: Any) -> None:
        if running:
            running[-1].refused = True
        failure = Failure(error, kind, traceback)
        log.failure("refusing a TLS handshake: a callback failed", failure)

    options = {} if failure is None else {"error": failure}
    return ffi.callback(signature, onerror=refuse, **options)  # type: ignore[no-any-return]


@guarded("int(*)(int, X509_STORE_CTX *)", 0)
def _verify(good: int, store: Any) -> int:
    """Called for each trouble that OpenSSL has with the chain, and for each certificate of it; the
    first call decides.  A peer that negotiates anew must not be another one then.
    """
    engine = running[-1]
    if engine.judged is None:
        if lib.X509_STORE_CTX_get_error(store) == _KEY_TOO_SMALL:
            return 1  # said before there is a chain
        engine.note_version()
        _note_chain(engine, store)
        engine.judged = engine.context.verify(engine, engine.chain)
        lib.ERR_clear_error()
    elif engine.established and der(lib.X509_STORE_CTX_get0_cert(store)) != engine.chain[0]:
        engine.judged = _REJECTED
    lib.X509_STORE_CTX_set_error(store, engine.judged)
    return int(engine.judged == 0)


def _note_chain(engine: Any, store: Any) -> None:
    stack = lib.X509_STORE_CTX_get1_chain(store)
    engine.certificates = found = members(stack)
    try:
        engine.chain = tuple(map(der, found))
    finally:
        for each in found:
            lib.X509_free(each)
        lib.sk_X509_free(stack)


@guarded(
    "int(*)(SSL *, unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)",
    _ALERT,
)
def _select_protocol(
    ssl: Any, found: Any, found_size: Any, offered: Any, size: int, unused: Any
) -> int:
    wire, at = bytes(ffi.buffer(offered, size)), 0
    places: dict[bytes, int] = {}
    while at < size:
        name = wire[at + 1 : at + 1 + wire[at]]
        places.setdefault(name, at)
        at += 1 + wire[at]
    chosen = running[-1].context.select_protocol(tuple(places))
    if chosen is None:
        return _NONE
    found[0], found_size[0] = offered + places[chosen] + 1, len(chosen)
    return _OK


@guarded("int(*)(SSL *, int *, void *)", _ALERT)
def _select_context(ssl: Any, alert: Any, unused: Any) -> int:
    context = running[-1].context
    if context.prefers_own_ciphers and lib.SSL_version(ssl) != lib.TLS1_3_VERSION:
        chacha = _PRIORITIZE_CHACHA if context.prefers_what_client_does else 0
        lib.SSL_set_options(ssl, lib.SSL_OP_CIPHER_SERVER_PREFERENCE | chacha)
    if context.chooses_by_name:
        made = context.select_context(server_name_of(ssl))
        if made is not None:
            lib.SSL_set_SSL_CTX(ssl, made._context)
    return _OK


@guarded("int(*)(SSL *, void *)", _ALERT)
def _staple(ssl: Any, unused: Any) -> int:
    engine = running[-1]
    response = engine.context.staple(engine, der(lib.SSL_get_certificate(ssl)))
    if not response:
        return _NONE if response is None else _ALERT
    copy = lib.OPENSSL_malloc(len(response))
    ffi.memmove(copy, response, len(response))
    lib.SSL_set_tlsext_status_ocsp_resp(ssl, copy, len(response))
    return _OK


@guarded("void(*)(const SSL *, const char *)", None)
def _log_secret(ssl: Any, line: Any) -> None:
    if running:
        engine = running[-1]
        engine.context.log_secret(engine, ffi.string(line))


@guarded("void(*)(const SSL *, int, int)", None)
def _inform(ssl: Any, where: int, value: int) -> None:
    if running:
        running[-1].informed(where, value)


def watch(ssl: Any) -> None:
    """Have the engine that reads told what else than plain bytes its peer sends from now on: this
    costs nothing where it is nothing.
    """
    lib.SSL_set_info_callback(ssl, _inform)


# Contexts


def ask_to_verify(made: SSL.Context, mode: int) -> None:
    """Have the engine's context judge the peer's certificates, and nobody else.

    :param mode: whether one is asked for: VERIFY_PEER and so on.
    """
    lib.SSL_CTX_set_verify(made._context, mode, _verify)


def ask_for_protocol(made: SSL.Context) -> None:
    """Have the engine's context choose one of the application protocols offered."""
    lib.SSL_CTX_set_alpn_select_cb(made._context, _select_protocol, ffi.NULL)


def ask_for_context(made: SSL.Context) -> None:
    """Have the engine's context choose the certificates for a name."""
    lib.SSL_CTX_set_tlsext_servername_callback(made._context, _select_context)


def ask_for_staple(made: SSL.Context) -> None:
    """Have the engine's context find the OCSP response."""
    lib.SSL_CTX_set_tlsext_status_cb(made._context, _staple)


def log_secrets(made: SSL.Context) -> None:
    """Have the engine's context log the secrets."""
    lib.SSL_CTX_set_keylog_callback(made._context, _log_secret)


def set_curves(made: SSL.Context, names: Sequence[str]) -> None:
    """Which curves are used, the best first; those that this OpenSSL does not know are left out.

    As in BoringSSL a client's first hello has a key for the best, and one for the best of the other
    kind, post-quantum or not; OpenSSL by itself has one alone, and a host that does not know that
    curve has to ask for another hello.

    :raise ValueError: where that leaves none.
    """
    known = [name for name in names if knows_curve(name)]
    first = known[:1]
    first += [name for name in known if _is_post_quantum(name) != _is_post_quantum(first[0])][:1]
    marked = [f"*{name}" if name in first else name for name in known]
    for each in (marked, known):  # before 3.5 OpenSSL knows no marks
        if known and lib.SSL_CTX_set1_curves_list(made._context, ":".join(each).encode()) == 1:
            return
        take_errors()
    raise ValueError(f"none of the curves {', '.join(names)} is known")


def _is_post_quantum(curve: str) -> bool:
    return "MLKEM" in curve


@cache
def knows_curve(name: str) -> bool:
    """Whether this OpenSSL has this curve, by any name that it takes."""
    made = SSL.Context(SSL.TLS_METHOD)
    known: bool = lib.SSL_CTX_set1_curves_list(made._context, name.encode()) == 1
    take_errors()
    return known


def set_signature_algorithms(made: SSL.Context, names: Sequence[str]) -> None:
    """Which signature algorithms are used, the best first.

    :raise ValueError: where one is not known.
    """
    if lib.SSL_CTX_set1_sigalgs_list(made._context, ":".join(names).encode()) != 1:
        take_errors()
        raise ValueError(f"not all signature algorithms of {', '.join(names)} are known")
