"""What is shown of the certificates of a context: on `/certs`, and as gauges of when they
expire.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from typing import Any

from cryptography import x509

from tcpmesh.config.fields.tls.parts import validation_context
from tcpmesh.config.fields.tls.secrets import Secrets
from tcpmesh.config.fields.tls.spiffe import trust_bundles
from tcpmesh.config.fields.values import source_bytes
from tcpmesh.extensions.transport_sockets.tls.certificates import certificate, messages_of
from tcpmesh.net.tls.material import Certificate, read_authorities
from tcpmesh.net.tls.parsing import parse
from tcpmesh.net.tls.subject_names import NameKind, subject_names
from tcpmesh.values.statuses import CertificateStatus, TlsContextStatus

_UNNAMED = "unnamed_cert_e3b0c442"
_UNNAMED_CA = "unnamed_ca_cert_e3b0c442"
"""What Envoy calls certificates that are no secrets: with a hash of no name at all."""

_NO_CA = "unnamed_ca_cert"
"""What it calls the authorities of a validation context that has none."""

_NEVER = (1 << 63) - 1
"""When these expire."""

_KINDS = {NameKind.DNS: "dns", NameKind.URI: "uri", NameKind.IP_ADDRESS: "ip_address"}


def context_status(common: Any, secrets: Secrets) -> TlsContextStatus:
    """The certificates of a `CommonTlsContext`; none where they cannot be read any more.

    :param secrets: those that are there.
    """
    try:
        return TlsContextStatus(tuple(_authorities(common, secrets)), tuple(_own(common, secrets)))
    except (ValueError, LookupError):
        return TlsContextStatus()


def expirations(common: Any, secrets: Secrets) -> Iterator[tuple[str, int]]:
    """When certificates expire, in seconds since 1970, by the names that their gauges have: those
    of the secrets, or one for all others.  Of the authorities of `trusted_ca` it is the first that
    expires; those of trust domains are numbered.
    """
    named = [each.name for each in common.tls_certificate_sds_secret_configs]
    names = [_UNNAMED] * len(common.tls_certificates) + named
    try:
        for name, message in zip(names, messages_of(common, secrets), strict=True):
            if message.ByteSize():
                yield name, _seconds(certificate(message).x509.not_valid_after_utc)
        yield from _ends_of_authorities(common, secrets)
    except (ValueError, LookupError):
        return


def _ends_of_authorities(common: Any, secrets: Secrets) -> Iterator[tuple[str, int]]:
    context = validation_context(common, secrets)
    if context is None:
        return
    alone = common.validation_context_sds_secret_config.name
    combined = common.combined_validation_context.validation_context_sds_secret_config.name
    has_bundle = context.HasField("trusted_ca")
    name = alone or combined or (_UNNAMED_CA if has_bundle else _NO_CA)
    if context.HasField("custom_validator_config"):
        for number, der in enumerate(_of_domains(context)):
            yield f"{name}_{number}", _seconds(parse(der).not_valid_after_utc)
    elif has_bundle:
        yield name, min(each.ends for each in _of_bundle(context))
    else:
        yield name, _NEVER


def _own(common: Any, secrets: Secrets) -> Iterator[CertificateStatus]:
    for message in messages_of(common, secrets):
        if not message.ByteSize():
            continue
        part = message.pkcs12 if message.HasField("pkcs12") else message.certificate_chain
        found = certificate(message)
        yield _status(found.x509, _path(part), _ocsp(found))


def _authorities(common: Any, secrets: Secrets) -> Iterator[CertificateStatus]:
    context = validation_context(common, secrets)
    if context is None:
        return
    if context.HasField("trusted_ca"):
        yield from _of_bundle(context)
    for der in _of_domains(context):
        yield _status(parse(der), "<inline>")


def _of_bundle(context: Any) -> Iterator[CertificateStatus]:
    data = source_bytes(context.trusted_ca, os.environ) or b""
    for der in read_authorities(data).certificates:
        yield _status(parse(der), _path(context.trusted_ca))


def _of_domains(context: Any) -> Iterator[bytes]:
    from envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import (
        SPIFFECertValidatorConfig,
    )

    config = SPIFFECertValidatorConfig()
    if context.custom_validator_config.typed_config.Unpack(config):
        for authorities in trust_bundles(config, os.environ).values():
            yield from authorities


def _path(source: Any) -> str:
    return str(source.filename) or "<inline>"


def _ocsp(found: Certificate) -> tuple[int, int] | None:
    response = found.response
    if response is None or response.ends is None:
        return None
    return _seconds(response.begins), _seconds(response.ends)


def _status(
    found: x509.Certificate, path: str, ocsp: tuple[int, int] | None = None
) -> CertificateStatus:
    serial = f"{found.serial_number:x}"
    names = subject_names(found)
    return CertificateStatus(
        path,
        serial if len(serial) % 2 == 0 else f"0{serial}",
        tuple(
            (word, each.text)
            for kind, word in _KINDS.items()
            for each in names
            if each.kind is kind
        ),
        _seconds(found.not_valid_before_utc),
        _seconds(found.not_valid_after_utc),
        ocsp,
    )


def _seconds(moment: datetime.datetime) -> int:
    return int(moment.timestamp())
