"""The fields of TLS."""

from __future__ import annotations

from tcpmesh.config.support.rows import YES, Rows, no_effect

_TLS = "envoy.extensions.transport_sockets.tls.v3."

#: What an `@type` may name.
EXTENSIONS: dict[str, Rows] = {
    f"{_TLS}DownstreamTlsContext": {
        "common_tls_context": YES,
        "require_client_certificate": YES,
        "disable_stateless_session_resumption": YES,
        "disable_stateful_session_resumption": YES,
        "session_timeout": YES,
        "full_scan_certs_on_sni_mismatch": YES,
        "prefer_client_ciphers": YES,
    },
    f"{_TLS}UpstreamTlsContext": {
        "common_tls_context": YES,
        "sni": YES,
        "allow_renegotiation": YES,
        "enforce_rsa_key_usage": no_effect("it is enforced in any case, as in Envoy"),
    },
}

#: The types of their fields.
PARTS: dict[str, Rows] = {
    f"{_TLS}CommonTlsContext": {
        "tls_params": YES,
        "tls_certificates": YES,
        "validation_context": YES,
        "alpn_protocols": YES,
    },
    f"{_TLS}TlsParameters": {
        "tls_minimum_protocol_version": YES,
        "tls_maximum_protocol_version": YES,
        "cipher_suites": YES,
        "ecdh_curves": YES,
        "signature_algorithms": YES,
        "compliance_policies": YES,
    },
    f"{_TLS}TlsCertificate": {
        "certificate_chain": YES,
        "private_key": YES,
        "pkcs12": YES,
        "password": YES,
    },
    f"{_TLS}CertificateValidationContext": {"trusted_ca": YES},
}
