"""Operators for what a TLS handshake has agreed on, and for the certificates of both sides: there
is nothing of it in a connection without TLS.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from tcpmesh.accesslog.fields.connection import server_name
from tcpmesh.accesslog.fields.time_format import UTC_FORMAT, TimeFormat
from tcpmesh.accesslog.fields.value import Build, Value, Yield, always
from tcpmesh.config.fields.operators import FormatError, Operator
from tcpmesh.net.tls.subject_names import (
    NameKind,
    distinguished_name,
    read_certificate,
    subject_names,
)
from tcpmesh.values.stream.moment import Moment
from tcpmesh.values.stream.stream_info import StreamInfo
from tcpmesh.values.stream.tls_facts import TlsFacts

Ask: TypeAlias = Callable[[TlsFacts], Value]
AskCertificate: TypeAlias = Callable[[x509.Certificate], Value]

_KINDS = {
    "URI": NameKind.URI,
    "DNS": NameKind.DNS,
    "IP": NameKind.IP_ADDRESS,
    "EMAIL": NameKind.EMAIL,
    "OTHERNAME": NameKind.OTHER_NAME,
}


def _of_peer(ask: AskCertificate) -> Ask:
    return lambda facts: ask(read_certificate(facts.peer_chain[0])) if facts.peer_chain else None


def _of_local(ask: AskCertificate) -> Ask:
    def value(facts: TlsFacts) -> Value:
        der = facts.local_certificate
        return ask(read_certificate(der)) if der else None

    return value


def _of_chain(ask: Callable[[x509.Certificate], str]) -> Ask:
    return lambda facts: ",".join(ask(read_certificate(each)) for each in facts.peer_chain) or None


def _fingerprint(algorithm: hashes.HashAlgorithm, certificate: x509.Certificate) -> str:
    return certificate.fingerprint(algorithm).hex()


def _serial(certificate: x509.Certificate) -> str:
    digits = f"{certificate.serial_number:x}"
    return digits if len(digits) % 2 == 0 else f"0{digits}"


def _names(kind: NameKind, certificate: x509.Certificate) -> Value:
    found = subject_names(certificate)
    return ",".join(each.text for each in found if each.kind is kind) or None


def _pem(certificate: x509.Certificate) -> str:
    return quote(certificate.public_bytes(Encoding.PEM), safe="")


_sha1 = partial(_fingerprint, hashes.SHA1())
_sha256 = partial(_fingerprint, hashes.SHA256())

_ASKED: dict[str, Ask] = {
    "TLS_VERSION": lambda facts: facts.version or None,
    "TLS_CIPHER": lambda facts: facts.cipher or None,
    "TLS_SESSION_ID": lambda facts: facts.session_id or None,
    "TLS_GROUP": lambda facts: facts.group or None,
    "PEER_SUBJECT": _of_peer(lambda found: distinguished_name(found.subject) or None),
    "PEER_ISSUER": _of_peer(lambda found: distinguished_name(found.issuer) or None),
    "PEER_SERIAL": _of_peer(_serial),
    "PEER_FINGERPRINT_1": _of_peer(_sha1),
    "PEER_FINGERPRINT_256": _of_peer(_sha256),
    "PEER_CERT": _of_peer(_pem),
    "PEER_CHAIN_FINGERPRINTS_1": _of_chain(_sha1),
    "PEER_CHAIN_FINGERPRINTS_256": _of_chain(_sha256),
    "PEER_CHAIN_SERIALS": _of_chain(_serial),
    "LOCAL_SUBJECT": _of_local(lambda found: distinguished_name(found.subject) or None),
    **{f"PEER_{name}_SAN": _of_peer(partial(_names, kind)) for name, kind in _KINDS.items()},
    **{f"LOCAL_{name}_SAN": _of_local(partial(_names, kind)) for name, kind in _KINDS.items()},
}

_SIDES: dict[str, Callable[[StreamInfo], TlsFacts]] = {
    "DOWNSTREAM": lambda info: info.tls,
    "UPSTREAM": lambda info: info.upstream.tls,
}


def _ask(side: Callable[[StreamInfo], TlsFacts], ask: Ask) -> Build:
    def value(info: StreamInfo, at: Moment) -> Value:
        try:
            return ask(side(info))
        except ValueError:
            return None  # a certificate that nobody can read

    return lambda operator: value


def _validity(side: Callable[[StreamInfo], TlsFacts], end: bool) -> Build:
    def build(operator: Operator) -> Yield:
        try:
            show = TimeFormat(operator.argument or UTC_FORMAT).format
        except ValueError as error:
            text = f"{operator.name} has a format that the system refuses: {error}"
            raise FormatError(text) from None

        def when(found: x509.Certificate) -> str:
            return show(
                (found.not_valid_after_utc if end else found.not_valid_before_utc).timestamp()
            )

        return _ask(side, _of_peer(when))(operator)

    return build


_NAMES = """
    DOWNSTREAM_TLS_VERSION DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_GROUP
    UPSTREAM_TLS_VERSION UPSTREAM_TLS_CIPHER UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_GROUP
    DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_SERIAL
    DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_CERT
    DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_PEER_EMAIL_SAN
    DOWNSTREAM_PEER_OTHERNAME_SAN DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1
    DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256 DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_LOCAL_URI_SAN
    DOWNSTREAM_LOCAL_DNS_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_EMAIL_SAN
    DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_SUBJECT UPSTREAM_PEER_SUBJECT
    UPSTREAM_PEER_ISSUER UPSTREAM_PEER_CERT UPSTREAM_PEER_URI_SAN UPSTREAM_PEER_DNS_SAN
    UPSTREAM_PEER_IP_SAN UPSTREAM_LOCAL_URI_SAN UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN
    """


def _failure(info: StreamInfo, at: Moment) -> Value:
    """Why TLS with a client failed, or why one that listener filters saw does not speak it."""
    return "_".join((info.tls.failure or info.hello.failure).split()) or None


def _operator(name: str) -> Build:
    side, _, asked = name.partition("_")
    return _ask(_SIDES[side], _ASKED[asked])


OPERATORS: dict[str, Build] = {
    **{name: _operator(name) for name in _NAMES.split()},
    **{
        f"{side}_PEER_CERT_V_{word}": _validity(facts, word == "END")
        for side, facts in _SIDES.items()
        for word in ("START", "END")
    },
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON": lambda operator: _failure,
    "UPSTREAM_SERVER_NAME": lambda operator: (
        lambda info, at: server_name(info.upstream.tls.server_name)
    ),
    # Envoy has no value for it where TCP is proxied.
    "DOWNSTREAM_HANDSHAKE_DURATION": lambda operator: always(None),
}
