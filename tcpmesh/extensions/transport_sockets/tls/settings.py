"""From the messages of a configuration to `TlsSettings`."""

from __future__ import annotations

from typing import Any

from tcpmesh.extensions.transport_sockets.tls.certificates import certificate
from tcpmesh.extensions.transport_sockets.tls.validation_context import validation_settings
from tcpmesh.net.tls.settings import (
    CIPHERS,
    CURVES,
    SIGNATURE_ALGORITHMS,
    TLS1_2,
    TLS1_3,
    Resumption,
    StaplePolicy,
    TlsSettings,
)

_VERSIONS = {1: 0x301, 2: 0x302, 3: TLS1_2, 4: TLS1_3}

_STAPLING = (StaplePolicy.LENIENT, StaplePolicy.STRICT, StaplePolicy.MUST_STAPLE)


def downstream(message: Any) -> TlsSettings:
    """Those of a `DownstreamTlsContext`.

    :raise ValueError: its material is of no use.
    """
    timeout = message.session_timeout.seconds if message.HasField("session_timeout") else 7200
    return TlsSettings(
        is_server=True,
        require_certificate=message.require_client_certificate.value,
        prefer_client_ciphers=message.prefer_client_ciphers,
        full_scan=message.full_scan_certs_on_sni_mismatch.value,
        resumption=Resumption(
            by_ticket=not message.disable_stateless_session_resumption,
            by_id=not message.disable_stateful_session_resumption,
            timeout=timeout,
        ),
        staple_policy=_STAPLING[message.ocsp_staple_policy],
        **_common(message.common_tls_context, TLS1_3),
    )


def upstream(message: Any) -> TlsSettings:
    """Those of an `UpstreamTlsContext`.

    :raise ValueError: its material is of no use.
    """
    keys = message.max_session_keys
    return TlsSettings(
        is_server=False,
        server_name=message.sni,
        host_name_as_server_name=message.auto_host_sni,
        expect_server_name=message.auto_sni_san_validation,
        allow_renegotiation=message.allow_renegotiation,
        sessions_kept=keys.value if message.HasField("max_session_keys") else 1,
        **_common(message.common_tls_context, TLS1_2),
    )


def _common(common: Any, maximum: int) -> dict[str, Any]:
    """What a `CommonTlsContext` says; `maximum` is the version where it says nothing of it."""
    params = common.tls_params
    return {
        "certificates": tuple(certificate(each) for each in common.tls_certificates),
        "minimum": _VERSIONS.get(params.tls_minimum_protocol_version, TLS1_2),
        "maximum": _VERSIONS.get(params.tls_maximum_protocol_version, maximum),
        "ciphers": tuple(_ciphers(params.cipher_suites)) or CIPHERS,
        "curves": tuple(params.ecdh_curves) or CURVES,
        "signature_algorithms": tuple(params.signature_algorithms) or SIGNATURE_ALGORITHMS,
        "application_protocols": tuple(common.alpn_protocols),
        "validation": validation_settings(common),
    }


def _ciphers(suites: Any) -> list[str]:
    """The names of suites, of which BoringSSL puts those that are equal in brackets."""
    return [
        name
        for entry in suites
        for part in entry.split(":")
        for name in part.strip("[]").split("|")
        if name
    ]
