"""Whether a peer may be who its certificate says, with Envoy's meaning for every rule.

`Verifier` is told once what to demand and judges chains, in the middle of a handshake: OpenSSL
builds and checks the chain (`pyOpenSSL`'s `X509Store`), and what it has no words for is checked
here: names, hashes, trust domains.  The order is Envoy's, since the first rule that is broken names
the failure and its counter:

1. the key usage of the peer's certificate, which must allow what the handshake does with the key;
   up to TLS 1.2 this comes last;
2. the chain up to a trusted authority, with revocation lists, times and purposes;
3. the names that the connection's user expects, then those of the configuration;
4. hashes of the certificate or of its key, of which one is enough.

Nothing of a certificate is believed before it is parsed, and a certificate that cannot be parsed is
refused, never an exception.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import crypto

from tcpmesh.facts import dataclass
from tcpmesh.net.tls import failures
from tcpmesh.net.tls.openssl.library import take_errors
from tcpmesh.net.tls.parsing import Unreadable, extension, parse, public_key
from tcpmesh.net.tls.stores import Purpose, TrustStore
from tcpmesh.net.tls.subject_names import (
    NameKind,
    NameMatcher,
    SubjectName,
    dns_name_matches,
    is_any,
    listed,
    subject_names,
)

_KEY_USAGE = b"\x06\x03\x55\x1d\x0f"
"""The object identifier of the extension, in DER."""

SIGNS = ("digital_signature",)
ENCIPHERS = ("key_encipherment",)
"""Key usages, as `x509.KeyUsage` has them: to sign the handshake, or to take its secret."""


@dataclass(frozen=True)
class TrustDomain:
    """A SPIFFE trust domain, and its authorities in DER."""

    name: str
    authorities: tuple[bytes, ...]


@dataclass(frozen=True)
class ValidationSettings:
    """What is demanded of a peer, named as in Envoy's `CertificateValidationContext`; certificates
    and revocation lists are in DER.
    """

    trusted_ca: tuple[bytes, ...] = ()
    crl: tuple[bytes, ...] = ()
    checks_revocation: bool = False
    only_verify_leaf_cert_crl: bool = False
    san_matchers: tuple[NameMatcher, ...] = ()
    verify_certificate_hash: frozenset[bytes] = frozenset()
    verify_certificate_spki: frozenset[bytes] = frozenset()
    accept_untrusted: bool = False
    allow_expired_certificate: bool = False
    max_verify_depth: int | None = None
    suppress_client_ca_list: bool = False
    trust_domains: tuple[TrustDomain, ...] | None = None
    """The only ones that peers may be of, where peers are named by SPIFFE IDs."""

    @property
    def has_demands(self) -> bool:
        """Whether anything is demanded at all: without that, nobody's certificate is looked at, nor
        required.
        """
        return bool(
            self.trusted_ca
            or self.san_matchers
            or self.verify_certificate_hash
            or self.verify_certificate_spki
            or self.trust_domains is not None
        )

    @property
    def asks_for_certificate(self) -> bool:
        """Whether clients are asked for a certificate."""
        return self.has_demands or self.accept_untrusted

    @property
    def requires_certificate(self) -> bool:
        """Whether clients need a certificate, though `require_client_certificate` does not say so:
        as in Envoy, who demands names, hashes or a trust domain lets nobody in who shows nothing.
        """
        names_or_hashes = (
            self.san_matchers or self.verify_certificate_hash or self.verify_certificate_spki
        )
        return self.trust_domains is not None or bool(names_or_hashes and not self.accept_untrusted)

    def digest(self) -> bytes:
        """A hash over all of it: sessions of other settings are not resumed."""
        hashed = hashlib.sha256()
        for part in (
            *self.trusted_ca,
            b"",
            *self.crl,
            b"",
            *sorted(self.verify_certificate_hash),
            b"",
            *sorted(self.verify_certificate_spki),
            b"",
            *(each for domain in self.trust_domains or () for each in domain.authorities),
            repr(self._plain()).encode(),
        ):
            hashed.update(len(part).to_bytes(4, "big") + part)
        return hashed.digest()

    def _plain(self) -> tuple[object, ...]:
        return (
            self.san_matchers,
            self.trust_domains and [domain.name for domain in self.trust_domains],
            self.checks_revocation,
            self.only_verify_leaf_cert_crl,
            self.accept_untrusted,
            self.allow_expired_certificate,
            self.max_verify_depth,
        )


@dataclass(frozen=True)
class Verdict:
    """What became of a certificate.

    `validated` says that it was checked and is what was demanded: a certificate may be accepted
    without.  `error` is the code of X.509 that makes OpenSSL send the alert, `alert` what Envoy
    sends; `reason` is Envoy's text, and `counter` what rises in `ssl.*`, also where it is accepted.
    """

    accepted: bool
    validated: bool = False
    error: int = 0
    alert: str = ""
    reason: str = ""
    counter: str | None = None


_ACCEPTED = Verdict(True)
_VALIDATED = Verdict(True, True)


def _refused(
    alert: str, text: str, counter: str | None = "fail_verify_error", before: str = ""
) -> Verdict:
    reason = failures.refused(text, before)
    return Verdict(False, False, failures.code_for(alert), alert, reason, counter)


_NO_CHAIN = _refused("certificate_unknown", "empty cert chain")
_UNREADABLE = _refused("bad_certificate", "init and setup X509_STORE_CTX")
_UNASKED = Verdict(
    False, False, failures.code_for("unknown_ca"), "unknown_ca", failures.refused(), None
)
_WRONG_KEY_USAGE = Verdict(
    False,
    False,
    failures.code_for("illegal_parameter"),
    "illegal_parameter",
    failures.WRONG_KEY_USAGE,
    None,
)

NO_CERTIFICATE = Verdict(False, reason=failures.NO_CERTIFICATE, counter="fail_verify_no_cert")
"""The verdict about a client that has none, where one is required."""


class Verifier:
    """Judges peers.

    :raise tcpmesh.wire.regex.BadRegex: an expression is none.
    :raise ValueError: an authority or a revocation list is none.
    """

    def __init__(self, settings: ValidationSettings) -> None:
        self.settings = settings
        self._matchers = tuple(each.compiled() for each in settings.san_matchers)
        self._store = (
            TrustStore(
                settings.trusted_ca,
                settings.crl,
                checks_revocation=settings.checks_revocation,
                only_leaf=settings.only_verify_leaf_cert_crl,
                allows_expired=settings.allow_expired_certificate,
            )
            if settings.trusted_ca
            else None
        )
        self._domains = {
            domain.name: TrustStore(
                domain.authorities, allows_expired=settings.allow_expired_certificate
            )
            for domain in settings.trust_domains or ()
        }

    def verify(
        self,
        chain: Sequence[bytes],
        expected_names: Sequence[str] = (),
        *,
        is_server: bool,
        server_name: str = "",
        usages: Sequence[str] = SIGNS,
        is_1_3: bool = True,
    ) -> Verdict:
        """Judge a chain that a peer has shown.

        :param chain: certificates in DER, the peer's own first.
        :param expected_names: of which the certificate must have one, besides what the settings
            demand.
        :param is_server: whether the peer is a client, and we are its server.
        :param server_name: what was asked for, where that has to be a name of the certificate: it
            takes the place of the settings' names.
        :param usages: one of these the certificate's key usage has to allow, if it has any.
        :param is_1_3: whether it is one of TLS 1.3.
        """
        if not chain:
            return _NO_CHAIN
        try:
            certificate = parse(chain[0])
            fits = _may_be_used(certificate, chain[0], usages)
            if is_1_3 and not fits:
                return _WRONG_KEY_USAGE
            verdict = self._judge(chain, certificate, expected_names, is_server, server_name)
            if verdict.accepted and not fits:
                return replace(_WRONG_KEY_USAGE, counter=verdict.counter)
            return verdict
        except (ValueError, crypto.Error):
            return _UNREADABLE
        finally:
            # What is left in OpenSSL's list would become the failure of another connection.
            take_errors()

    def _judge(
        self,
        chain: Sequence[bytes],
        certificate: x509.Certificate,
        expected_names: Sequence[str],
        is_server: bool,
        server_name: str,
    ) -> Verdict:
        settings = self.settings
        if settings.trust_domains is not None:
            return self._judge_spiffe(chain, certificate, is_server)
        if not settings.asks_for_certificate:
            return _UNASKED if expected_names or server_name else _ACCEPTED
        found = self._judge_chain(chain, is_server) if self._store is not None else None
        if found is not None:
            return _lenient(found) if settings.accept_untrusted else found
        found = self._judge_names(certificate, expected_names, server_name)
        found = found or self._judge_hashes(chain[0], certificate)
        if found is not None:
            return _lenient(found) if settings.accept_untrusted else found
        return _VALIDATED if settings.has_demands else _ACCEPTED

    def _judge_chain(self, chain: Sequence[bytes], is_server: bool) -> Verdict | None:
        assert self._store is not None
        # As Envoy does, which tells only its servers of the limit.
        depth = self.settings.max_verify_depth if is_server else None
        purpose = Purpose.CLIENT if is_server else Purpose.SERVER
        failure = self._store.failure(chain, purpose, depth)
        if failure is None:
            return None
        text = failures.x509_text(failure.code, failure.depth)
        return _refused(failures.x509_alert(failure.code), text, before=failure.before)

    def _judge_names(
        self, certificate: x509.Certificate, expected_names: Sequence[str], server_name: str
    ) -> Verdict | None:
        if not (expected_names or server_name or self._matchers):
            return None
        names = subject_names(certificate)
        if expected_names and not is_any(names, expected_names):
            text = (
                f"verify SAN list, expected SANs: [{', '.join(expected_names)}], "
                f"certificate SANs: {listed(names)}"
            )
            return _refused("certificate_unknown", text, "fail_verify_san")
        if server_name and not expected_names:
            is_good = any(
                each.kind is NameKind.DNS and dns_name_matches(server_name, each.text)
                for each in names
            )
        else:
            is_good = self._is_matched(names)
        if is_good:
            return None
        text = f"SAN matcher, certificate SANs are {listed(names)}"
        return _refused("certificate_unknown", text, "fail_verify_san")

    def _is_matched(self, names: Sequence[SubjectName]) -> bool:
        return not self._matchers or any(test(name) for name in names for test in self._matchers)

    def _judge_hashes(self, der: bytes, certificate: x509.Certificate) -> Verdict | None:
        hashes = self.settings.verify_certificate_hash
        keys = self.settings.verify_certificate_spki
        if not hashes and not keys:
            return None
        if hashes and hashlib.sha256(der).digest() in hashes:
            return None
        if keys and spki_hash(certificate) in keys:
            return None
        return _refused("bad_certificate_hash_value", "cert hash and spki", "fail_verify_cert_hash")

    def _judge_spiffe(
        self, chain: Sequence[bytes], certificate: x509.Certificate, is_server: bool
    ) -> Verdict:
        if not _is_leaf(certificate):
            return _refused("certificate_unknown", "cert precheck")
        names = subject_names(certificate)
        store = self._domains.get(_trust_domain(names))
        if store is None:
            return _refused("certificate_unknown", "no trust bundle store")
        purpose = Purpose.CLIENT if is_server else Purpose.SERVER
        failure = store.failure(chain, purpose)
        if failure is not None:
            text = failures.x509_text(failure.code, failure.depth)
            return _refused("certificate_unknown", text, before=failure.before)
        if not self._is_matched(names):
            return _refused("certificate_unknown", "SAN match", "fail_verify_san")
        return _VALIDATED


def spki_hash(certificate: x509.Certificate) -> bytes:
    """SHA-256 of a certificate's public key, as `verify_certificate_spki` has it.

    :raise ValueError: the key cannot be read.
    """
    form = PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public_key(certificate).public_bytes(Encoding.DER, form)).digest()


def _lenient(found: Verdict) -> Verdict:
    """`ACCEPT_UNTRUSTED`: what is wrong is counted."""
    return Verdict(True, False, counter=found.counter)


def _may_be_used(certificate: x509.Certificate, der: bytes, usages: Sequence[str]) -> bool:
    """Whether its key usage, if there is one, allows what the handshake does with it."""
    if _KEY_USAGE not in der:
        return True
    try:
        usage = extension(certificate, x509.KeyUsage)
    except Unreadable:
        return False
    return usage is None or any(getattr(usage, each) for each in usages)


def _is_leaf(certificate: x509.Certificate) -> bool:
    """What SPIFFE demands of a certificate that is shown: it signs no other."""
    try:
        usage = extension(certificate, x509.KeyUsage)
        constraints = extension(certificate, x509.BasicConstraints)
    except Unreadable:
        return False
    if usage is None or usage.key_cert_sign or usage.crl_sign:
        return False
    return constraints is None or not constraints.ca


def _trust_domain(names: Sequence[SubjectName]) -> str:
    """The trust domain of the first URI; empty where it is no SPIFFE ID."""
    uri = next((each.text for each in names if each.kind is NameKind.URI), "")
    scheme, found, rest = uri.partition("spiffe://")
    domain, slash, _ = rest.partition("/")
    return domain if found and not scheme and slash else ""
