"""What all connections of one `TlsSettings` share: the certificates, and who is let in.

pyOpenSSL's contexts are made when the first connection needs them: one for each set of certificates
that a client may be given, which is one certificate for each type of key.  A client is begun with
the set for those who ask for no name; where it asks for one, the set for that name takes its place
in the course of the handshake (`select_context`).  All else is the same in all of them, for OpenSSL
takes over nothing but the certificates then.

Nothing is left to the openssl.cnf of the machine: versions, ciphers with a security level, curves,
signature algorithms and options are set on every context.
"""

from __future__ import annotations

import datetime
import hashlib
import tempfile
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL.crypto import X509

from tcpmesh.facts import dataclass
from tcpmesh.net.tls.agreement import MOST_KEPT, Agreements
from tcpmesh.net.tls.ciphers import cipher_list, signs_handshake
from tcpmesh.net.tls.material import Certificate
from tcpmesh.net.tls.names import Parameters
from tcpmesh.net.tls.openssl.callbacks import (
    ask_for_context,
    ask_for_protocol,
    ask_for_staple,
    ask_to_verify,
    log_secrets,
    set_curves,
    set_signature_algorithms,
)
from tcpmesh.net.tls.openssl.engine import CompiledEngine
from tcpmesh.net.tls.openssl.prepared import PREPARED
from tcpmesh.net.tls.openssl.public import engine_class
from tcpmesh.net.tls.sessions import Sessions
from tcpmesh.net.tls.settings import TLS1_2, TLS1_3, StaplePolicy, TlsSettings
from tcpmesh.net.tls.verifier import ENCIPHERS, SIGNS, ValidationSettings, Verifier
from tcpmesh.values.stream.tls_facts import TlsFacts
from tcpmesh.values.stream.transport_socket_options import TransportSocketOptions
from tcpmesh.wire.client_hello import ClientHelloMessage, ClientHelloReader, numbers

NOTHING_DEMANDED = ValidationSettings()


@dataclass(frozen=True)
class Wanted:
    """What a connection asks of its peer."""

    server_name: str = ""
    """The name that a host is asked for (SNI)."""

    application_protocols: tuple[str, ...] = ()
    """What a host is offered (ALPN)."""

    subject_names: tuple[str, ...] = ()
    """Of which the peer's certificate must have one, besides what the settings demand."""

    expected_name: str = ""
    """For which the peer's certificate has to be, where that is the one asked for."""


NOTHING_WANTED = Wanted()

CertificateSet = tuple[Certificate, ...]
"""One certificate for each type of key."""


class TlsContext:
    """See the module's text.

    :param settings: what the configuration says.
    :param engine: what moves records, where it is not to be what is there.
    """

    def __init__(self, settings: TlsSettings, engine: type[CompiledEngine] | None = None) -> None:
        self.settings = settings
        self.is_server = settings.is_server
        validation = settings.validation or NOTHING_DEMANDED
        self._verifier = Verifier(validation)
        self.asks_for_certificate = validation.asks_for_certificate
        """Whether the peer's certificate decides anything."""
        self.requires_certificate = validation.requires_certificate or (
            settings.require_certificate and validation.has_demands
        )
        """Whether a client without one is refused: as in Envoy only where there is something to
        hold it against, but then also where the certificate alone can be what is demanded.
        """
        self.validates = validation.has_demands and not validation.accept_untrusted
        """Whether a peer that was let in has a certificate that is what was demanded."""
        self._engine_class = engine or engine_class()
        self._made: dict[tuple[CertificateSet, bool], SSL.Context] = {}
        self._protocols = tuple(each.encode() for each in settings.application_protocols)
        self.prefers_own_ciphers = self.is_server and not settings.prefer_client_ciphers
        """Whether up to TLS 1.2 the server's order of ciphers holds; in TLS 1.3 it is the client's
        in any case, as in BoringSSL.
        """
        self.prefers_what_client_does = settings.parameters.ciphers.prefers_what_client_does
        """Whether a client that puts ChaCha20 first gets it all the same."""
        self._wanted: dict[Any, Wanted] = {}
        kept = settings.sessions_kept
        self.sessions = Sessions(kept) if kept and not self.is_server else None
        """Those with hosts, where any are kept."""
        how = settings.resumption
        self.looks_at_hello = self.is_server and how.by_id and not how.by_ticket
        """Whether a client's first bytes have to be seen: without tickets OpenSSL keeps sessions of
        TLS 1.3 by name, which Envoy does not.
        """
        self.facts = Agreements(
            [each.chain[0] for each in settings.certificates],
            sees_certificates=self.asks_for_certificate or not self.is_server,
            has_protocols=bool(self._protocols),
            validates=self.validates,
        ).facts
        """What a handshake has agreed on that is over: called with its engine."""
        self._usages = SIGNS if self.is_server else _usages(settings.parameters)
        """What a peer's key may be used for up to TLS 1.2."""
        self._default = _best_of(settings.certificates)
        self._others = self._default if settings.full_scan else settings.certificates[:1]
        """Those for clients for whose name there is none."""
        self._begin_with: SSL.Context | None = None
        """What nearly all connections are begun with."""
        self._by_name = _by_name(settings.certificates) if len(settings.certificates) > 1 else {}
        self.chooses_by_name = bool(self._by_name)
        """Whether it depends on the name a client asks for which certificate it gets."""

    @cached_property
    def unagreed(self) -> TlsFacts:
        """What is known of a client with which nothing is agreed on yet, in Envoy's eyes."""
        certificates = self.settings.certificates
        own = certificates[0].chain[0] if certificates else b""
        return TlsFacts(version="TLSv1.2", local_certificate=own)

    def close(self) -> None:
        """Nobody begins connections with it any more; those that are open live on."""

    def engine(self, owner: Any, hello: bytes = b"") -> CompiledEngine:
        """What does TLS for one connection.

        :param hello: the client's first bytes, where the context `looks_at_hello`.
        :param owner: whose `verdict` is the one on the peer, and whose `wanted` holds in it.
        """
        if self.looks_at_hello and may_speak_1_3(hello):
            made = self._context(self._default, forgets=True)
        elif (found := self._begin_with) is not None:
            made = found
        else:
            made = self._begin_with = self._context(self._default)
        engine = self._engine_class(self, made, owner)
        if not self.is_server:
            wanted: Wanted = owner.wanted
            if wanted.server_name:
                engine.ask_for(wanted.server_name)
            if wanted.application_protocols:
                engine.offer([each.encode() for each in wanted.application_protocols])
        return engine

    def is_verified(self, engine: CompiledEngine) -> bool:
        """Whether the peer of a handshake that is over may be heard.

        Nobody is let in because nothing was said against it: there is a verdict on it, or on the
        session that it resumes, or there is nothing to be judged.
        """
        if not self.asks_for_certificate and engine.judged is None:
            return True
        if engine.judged is not None:
            return engine.judged == 0
        if engine.reused:
            return engine.verify_result == 0 and self._has_what_it_needs(engine)
        return not engine.has_peer_certificate and self._has_what_it_needs(engine)

    def _has_what_it_needs(self, engine: CompiledEngine) -> bool:
        needed = self.requires_certificate or not self.is_server
        return not needed or engine.has_peer_certificate

    def wanted(self, options: TransportSocketOptions) -> Wanted:
        """What a connection to a host asks it for: the same object wherever it is the same, for
        sessions are looked for by it.
        """
        settings = self.settings
        host = options.host_name if settings.host_name_as_server_name else ""
        offered = options.application_protocols or settings.application_protocols
        protocols = offered or options.fallback_protocols
        key = options.server_name, protocols, options.subject_names, host
        found = self._wanted.get(key)
        if found is None:
            name = options.server_name or host or settings.server_name
            expected = name if settings.expect_server_name else ""
            found = Wanted(name, protocols, options.subject_names, expected)
            if len(self._wanted) < MOST_KEPT:
                self._wanted[key] = found
        return found

    # What OpenSSL asks

    def verify(self, engine: Any, chain: tuple[bytes, ...]) -> int:
        """Judge the peer's certificates."""
        owner = engine.owner
        owner.verdict = verdict = self._verifier.verify(
            chain,
            owner.wanted.subject_names,
            is_server=self.is_server,
            server_name=owner.wanted.expected_name,
            usages=SIGNS if engine.is_1_3 else self._usages,
            is_1_3=engine.is_1_3,
        )
        return 0 if verdict.accepted else verdict.error or _APPLICATION

    def select_protocol(self, offered: tuple[bytes, ...]) -> bytes | None:
        """The first of ours that the client offers too."""
        return next((each for each in self._protocols if each in offered), None)

    def select_context(self, server_name: str) -> SSL.Context | None:
        """The certificates for a name: of just this name, or of a wildcard for it, or the first."""
        if not server_name or not self._by_name:
            return None
        name = server_name.lower()
        exact = self._by_name.get(name, ())
        wild = self._by_name.get("*." + name.partition(".")[2], ())
        found = exact or wild
        if not found:
            return None if self.settings.full_scan else self._context(self._others)
        if not _has_rsa(found):
            # A client without ECDSA goes on looking, and ends where it would have without a name.
            others = _best_of((*wild, *self._others))
            found += tuple(each for each in others if each.key_type == "rsa")
        return self._context(found)

    def staple(self, engine: Any, leaf: bytes) -> bytes | None:
        """The OCSP response for a client that asks for one and gets this certificate, empty where
        it is to be refused.
        """
        watcher = engine.owner.watcher
        found = next((each for each in self.settings.certificates if each.chain[0] == leaf), None)
        response = found.response if found is not None else None
        now = datetime.datetime.now(datetime.timezone.utc)
        is_good = response is not None and not response.has_expired(now)
        watcher.tls_staple_asked()
        if found is not None and found.staple is not None and is_good:
            watcher.tls_stapled("responses")
            return found.staple
        policy = self.settings.staple_policy
        if found is not None and found.must_staple:
            policy = StaplePolicy.MUST_STAPLE
        is_broken = policy is StaplePolicy.STRICT and response is not None
        if policy is StaplePolicy.MUST_STAPLE or is_broken:
            watcher.tls_stapled("failed")
            return b""
        watcher.tls_stapled("omitted")
        return None

    def log_secret(self, engine: Any, line: bytes) -> None:
        """Secrets of a handshake."""
        log = engine.owner.key_log
        if log is not None and log.is_for(engine.owner):
            log.write(line)

    # pyOpenSSL's contexts

    def _context(self, certificates: CertificateSet, forgets: bool = False) -> SSL.Context:
        """The one with these certificates, that `forgets` its sessions or not."""
        made = self._made.get((certificates, forgets))
        if made is None:
            made = self._make(certificates, forgets)
            self._made[certificates, forgets] = made
        return made

    def _make(self, certificates: CertificateSet, forgets: bool) -> SSL.Context:
        settings = self.settings
        if self.is_server:
            made = PREPARED.take(_fingerprint(settings, certificates))
        else:
            made = SSL.Context(SSL.TLS_CLIENT_METHOD)
        _set_parameters(made, settings.parameters)
        made.set_mode(SSL.MODE_RELEASE_BUFFERS)
        made.set_options(self._options())
        _load(made, certificates)
        self._set_resumption(made, forgets)
        self._set_verification(made)
        if settings.key_log is not None:
            log_secrets(made)
        if self.is_server:
            self._set_server(made)
        return made

    def _options(self) -> int:
        settings = self.settings
        options = SSL.OP_NO_COMPRESSION
        if not settings.allow_renegotiation:
            options |= SSL.OP_NO_RENEGOTIATION
        if not self.is_server:
            options |= SSL.OP_LEGACY_SERVER_CONNECT  # as BoringSSL
        if not settings.resumption.by_ticket:
            options |= SSL.OP_NO_TICKET
        return options

    def _set_resumption(self, made: SSL.Context, forgets: bool) -> None:
        settings = self.settings
        if not self.is_server:
            made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            return
        by_id = settings.resumption.by_id and not forgets
        made.set_session_cache_mode(SSL.SESS_CACHE_SERVER if by_id else SSL.SESS_CACHE_OFF)
        made.set_timeout(settings.resumption.timeout)
        made.set_session_id(_fingerprint(settings, settings.certificates))

    def _set_verification(self, made: SSL.Context) -> None:
        mode = SSL.VERIFY_NONE
        if self.asks_for_certificate or not self.is_server:
            mode = SSL.VERIFY_PEER
        if self.requires_certificate:
            mode |= SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        ask_to_verify(made, mode)

    def _set_server(self, made: SSL.Context) -> None:
        if self._protocols:
            ask_for_protocol(made)
        ask_for_context(made)
        ask_for_staple(made)
        validation = self.settings.validation
        if validation is not None and not validation.suppress_client_ca_list:
            for der in validation.trusted_ca:
                authority = x509.load_der_x509_certificate(der)
                made.add_client_ca(X509.from_cryptography(authority))


_SUPPORTED_VERSIONS = 43
"""The extension in which clients of TLS 1.3 name their versions."""

_APPLICATION = 50
"""X509_V_ERR_APPLICATION_VERIFICATION: refused, and nobody has said why."""


def may_speak_1_3(hello: bytes) -> bool:
    """Whether a client may want to speak TLS 1.3, as far as its first bytes tell."""
    found = ClientHelloReader().read(hello)
    if not isinstance(found, ClientHelloMessage):
        return True
    return TLS1_3 in numbers(found.extensions.get(_SUPPORTED_VERSIONS, b"")[1:])


def _set_parameters(made: SSL.Context, parameters: Parameters) -> None:
    """Versions, ciphers, curves and signature algorithms."""
    made.set_min_proto_version(parameters.minimum)
    made.set_max_proto_version(parameters.maximum)
    # OpenSSL has TLS 1.0 and 1.1 only where no level of security is demanded.
    level = 1 if parameters.minimum >= TLS1_2 else 0
    suites = parameters.ciphers.suites or cipher_list(()).suites
    made.set_cipher_list(":".join((*suites, f"@SECLEVEL={level}")).encode())
    made.set_tls13_ciphersuites(":".join(parameters.tls13_ciphers).encode())
    set_curves(made, parameters.curves)
    set_signature_algorithms(made, parameters.signature_algorithms)


def _usages(parameters: Parameters) -> tuple[str, ...]:
    """What a server's key may be used for with the cipher suites that a client offers: OpenSSL does
    not say which is agreed on while there is still time to refuse.
    """
    signing = {signs_handshake(each) for each in parameters.ciphers.suites} or {True}
    return (*(SIGNS if True in signing else ()), *(ENCIPHERS if False in signing else ()))


def _best_of(certificates: Iterable[Certificate]) -> CertificateSet:
    """The first for each type of key."""
    found: dict[str, Certificate] = {}
    for each in certificates:
        found.setdefault(each.key_type, each)
    return tuple(found.values())


def _has_rsa(certificates: CertificateSet) -> bool:
    return any(each.key_type == "rsa" for each in certificates)


def _by_name(certificates: Iterable[Certificate]) -> dict[str, CertificateSet]:
    """The certificates for each name, wildcards too."""
    found: dict[str, list[Certificate]] = {}
    for certificate in certificates:
        for name in certificate.names:
            found.setdefault(name.lower(), []).append(certificate)
    return {name: _best_of(those) for name, those in found.items()}


def _load(made: SSL.Context, certificates: CertificateSet) -> None:
    """Give a context its certificates and their keys."""
    own_chains = len(certificates) > 1 and any(len(each.chain) > 1 for each in certificates)
    for each in certificates:
        leaf, *others = [x509.load_der_x509_certificate(der) for der in each.chain]
        if own_chains:
            _load_chain(made, [leaf, *others])
        else:
            made.use_certificate(leaf)
            for other in others:
                made.add_extra_chain_cert(other)
        key: Any = each.key
        made.use_privatekey(key)


def _load_chain(made: SSL.Context, chain: Sequence[x509.Certificate]) -> None:
    """A chain that belongs to one certificate of a context with several: OpenSSL takes such a one
    from a file alone.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.writelines(each.public_bytes(Encoding.PEM) for each in chain)
        file.flush()
        made.use_certificate_chain_file(file.name)


def _fingerprint(settings: TlsSettings, certificates: Sequence[Certificate]) -> bytes:
    """What all has to be the same where a session is resumed."""
    chains = [each.chain for each in certificates]
    validation = settings.validation.digest() if settings.validation is not None else b""
    text = repr((chains, validation, settings.require_certificate))
    return hashlib.sha256(text.encode()).digest()
