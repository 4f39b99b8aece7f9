"""Parts of the messages of TLS: what `tls_params` come to, which validation context holds, hashes
and names of certificates.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from envoy.extensions.transport_sockets.tls.v3 import common_pb2

from tcpmesh.config.fields.tls.secrets import VALIDATION, Secrets, key_of
from tcpmesh.net.tls.names import Parameters, parameters
from tcpmesh.net.tls.subject_names import NameKind, NameMatcher

_SHA256 = 32

_KINDS = {1: NameKind.EMAIL, 2: NameKind.DNS, 3: NameKind.URI, 4: NameKind.IP_ADDRESS}
_OTHER_NAME = 5


class WrongHash(ValueError):
    """A text that is not the hash that it should be."""


def tls_parameters(message: Any, *, is_server: bool) -> Parameters:
    """What a `TlsParameters` comes to.

    :raise tcpmesh.net.tls.ciphers.BadCiphers: a cipher suite is unknown.
    :raise tcpmesh.net.tls.names.BadName: a curve or a signature algorithm is.
    """
    version, policies = message.TlsProtocol.Name, message.compliance_policies
    return parameters(
        is_server=is_server,
        minimum=version(message.tls_minimum_protocol_version),
        maximum=version(message.tls_maximum_protocol_version),
        cipher_suites=message.cipher_suites,
        ecdh_curves=message.ecdh_curves,
        signature_algorithms=message.signature_algorithms,
        policy=message.CompliancePolicy.Name(policies[0]) if policies else "",
    )


def validation_context(common: Any, secrets: Secrets) -> Any:
    """The `CertificateValidationContext` of a `CommonTlsContext`, or `None`: its own, a secret, or
    both in one.

    :raise LookupError: a secret that is named is not there.
    """
    kind = common.WhichOneof("validation_context_type")
    if kind == "validation_context":
        return common.validation_context
    if kind == "validation_context_sds_secret_config":
        return secrets[key_of(VALIDATION, common.validation_context_sds_secret_config)]
    if kind == "combined_validation_context":
        combined = common.combined_validation_context
        found = secrets[key_of(VALIDATION, combined.validation_context_sds_secret_config)]
        return merged_context(combined.default_validation_context, found)
    return None


def merged_context(default: Any, secret: Any) -> Any:
    """A `CertificateValidationContext` that a secret completes."""
    merged = common_pb2.CertificateValidationContext()
    merged.CopyFrom(default)
    merged.MergeFrom(secret)
    return merged


def hash_of_hex(text: str) -> bytes:
    """A hash of `verify_certificate_hash`, with colons or without.

    :raise WrongHash: it is none.
    """
    try:
        found = bytes.fromhex(text.replace(":", "") if len(text) == 95 else text)
    except ValueError:
        found = b""
    if len(found) != _SHA256:
        raise WrongHash("verify_certificate_hash must be a SHA-256 hash in hexadecimal")
    return found


def hash_of_base64(text: str) -> bytes:
    """A hash of `verify_certificate_spki`.

    :raise WrongHash: it is none.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != _SHA256:
        raise WrongHash("verify_certificate_spki must be the base64 of a SHA-256 hash")
    return found


def name_matcher(message: Any) -> NameMatcher:
    """What a `SubjectAltNameMatcher` asks of a name."""
    is_other = message.san_type == _OTHER_NAME
    kind = NameKind.OTHER_NAME if is_other else _KINDS[message.san_type]
    return pattern_matcher(kind, message.matcher, message.oid if is_other else "")


def pattern_matcher(kind: NameKind, message: Any, oid: str = "") -> NameMatcher:
    """What a `StringMatcher` asks of names of a kind."""
    test = message.WhichOneof("match_pattern")
    value = getattr(message, test)
    text = value.regex if test == "safe_regex" else value
    return NameMatcher(kind, test, text, message.ignore_case, oid)
