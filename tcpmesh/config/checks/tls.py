"""Certificates, keys and authorities: they must be there, be what they say they are, and fit each
other.

The `ssl` module of Python judges, as it will when the context is built; it reads files only, so
inline material passes through a temporary file that nobody else can read.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
import tempfile
from typing import Any

from tcpmesh.config.fields.files import read_source
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.types import type_of_url
from tcpmesh.config.text.problems import FieldPath

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
_HASH_BYTES = 32


def name_of(source: Any) -> str:
    """A DataSource as an error names it."""
    kind = source.WhichOneof("specifier")
    return (
        repr(getattr(source, kind))
        if kind in ("filename", "environment_variable")
        else f"of {kind}"
    )


def _check_pair(pair: Any, field_path: FieldPath, report: Report) -> None:
    """A certificate chain and its private key."""
    if pair.HasField("pkcs12") or pair.HasField("private_key_provider"):
        return
    if not pair.HasField("certificate_chain"):
        report.absent(
            field_path, ["certificate_chain"], "a TLS certificate needs a certificate_chain"
        )
    if not pair.HasField("private_key"):
        report.absent(
            field_path, ["private_key"], "a TLS certificate needs its private key (private_key)"
        )
    chain = _material(pair, "certificate_chain", report)
    key = _material(pair, "private_key", report)
    chain_is_good = chain is not None and _is_pem(
        chain, pair.certificate_chain, (field_path, "certificate_chain"), report
    )
    key_is_good = key is not None and _is_key(
        key, pair.private_key, (field_path, "private_key"), report
    )
    if chain is not None and key is not None and chain_is_good and key_is_good:
        _check_match(pair, chain, key, field_path, report)


def _material(message: Any, field: str, report: Report) -> bytes | None:
    return read_source(getattr(message, field), report) if message.HasField(field) else None


def _is_pem(data: bytes, source: Any, field_path: FieldPath, report: Report) -> bool:
    if _CERTIFICATE in data:
        return True
    report.error(
        field_path, f"no certificate in PEM form is in the certificate file {name_of(source)}"
    )
    return False


def _is_key(data: bytes, source: Any, field_path: FieldPath, report: Report) -> bool:
    if _PRIVATE_KEY.search(data):
        return True
    report.error(field_path, f"no private key in PEM form is in {name_of(source)}")
    return False


def _check_match(
    pair: Any, chain: bytes, key: bytes, field_path: FieldPath, report: Report
) -> None:
    password = _material(pair, "password", report) or b""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as chain_file, tempfile.NamedTemporaryFile() as key_file:
        for file, data in ((chain_file, chain), (key_file, key)):
            file.write(data)
            file.flush()
        try:
            context.load_cert_chain(chain_file.name, key_file.name, password=lambda: password)
        except (ssl.SSLError, ValueError) as error:
            names = (
                f"private key {name_of(pair.private_key)} and certificate "
                f"{name_of(pair.certificate_chain)}"
            )
            report.error(
                (field_path, "private_key"),
                f"{names} do not fit: {getattr(error, 'reason', None) or error}",
            )


def _check_validation(validation: Any, field_path: FieldPath, report: Report) -> None:
    """What a peer's certificate is held against."""
    if validation.HasField("trusted_ca"):
        _check_authority(validation.trusted_ca, (field_path, "trusted_ca"), report)
    elif not (validation.HasField("ca_certificate_provider_instance") or _is_completed(field_path)):
        for field in ("match_typed_subject_alt_names", "match_subject_alt_names"):
            if getattr(validation, field):
                report.error(
                    (field_path, field),
                    "names in a certificate say nothing without a trusted CA: set trusted_ca",
                )
    for index, text in enumerate(validation.verify_certificate_spki):
        if not _is_hash(text):
            wrong = "verify_certificate_spki must be the base64 of a SHA-256 hash"
            report.error(((field_path, "verify_certificate_spki"), index), wrong)
    for index, text in enumerate(validation.verify_certificate_hash):
        if not re.fullmatch(r"[0-9a-fA-F]{64}|[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){31}", text):
            wrong = "verify_certificate_hash must be a SHA-256 hash in hexadecimal"
            report.error(((field_path, "verify_certificate_hash"), index), wrong)


def _is_completed(field_path: FieldPath) -> bool:
    """Whether SDS brings the rest, which may be the CA (`CombinedCertificateValidationContext`)."""
    return field_path is not None and field_path[1] == "default_validation_context"


def _is_hash(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _HASH_BYTES
    except (binascii.Error, ValueError):
        return False


def _check_authority(source: Any, field_path: FieldPath, report: Report) -> None:
    data = read_source(source, report)
    if data is None or not _is_pem(data, source, field_path, report):
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata=data.decode("ascii", "replace")
        )
    except (ssl.SSLError, ValueError) as error:
        report.error(field_path, f"the CA certificates {name_of(source)} cannot be read: {error}")


def _check_secret(secret: Any, field_path: FieldPath, report: Report) -> None:
    if secret.WhichOneof("type") is None:
        report.error(
            field_path,
            f"the secret {secret.name!r} holds nothing",
            "set tls_certificate or validation_context",
        )


def _check_upstream_socket(cluster: Any, field_path: FieldPath, report: Report) -> None:
    _check_direction(
        cluster.transport_socket, "Downstream", (field_path, "transport_socket"), report
    )
    for index, match in enumerate(cluster.transport_socket_matches):
        here: FieldPath = (((field_path, "transport_socket_matches"), index), "transport_socket")
        _check_direction(match.transport_socket, "Downstream", here, report)


def _check_inner_socket(outer: Any, field_path: FieldPath, report: Report) -> None:
    _check_direction(outer.transport_socket, "Downstream", (field_path, "transport_socket"), report)


def _check_downstream_socket(chain: Any, field_path: FieldPath, report: Report) -> None:
    _check_direction(chain.transport_socket, "Upstream", (field_path, "transport_socket"), report)


def _check_direction(socket: Any, wrong: str, field_path: FieldPath, report: Report) -> None:
    """A transport socket is made for clients or for hosts, and its type says for which."""
    name = type_of_url(socket.typed_config.type_url)
    if name.startswith(_SOCKETS) and wrong in name.rpartition(".")[2]:
        sides = {
            "Upstream": ("for connections to hosts", "for those of clients"),
            "Downstream": ("for clients", "for hosts"),
        }
        made, needed = sides[wrong]
        report.error(
            ((field_path, "typed_config"), "@type"),
            f"{name} is a transport socket {made}, here one {needed} is needed",
        )


_SOCKETS = "envoy.extensions.transport_sockets."
_TLS = "envoy.extensions.transport_sockets.tls.v3."

CHECKS = {
    "envoy.config.cluster.v3.Cluster": _check_upstream_socket,
    "envoy.config.listener.v3.FilterChain": _check_downstream_socket,
    _SOCKETS + "proxy_protocol.v3.ProxyProtocolUpstreamTransport": _check_inner_socket,
    _TLS + "TlsCertificate": _check_pair,
    _TLS + "CertificateValidationContext": _check_validation,
    _TLS + "Secret": _check_secret,
}
