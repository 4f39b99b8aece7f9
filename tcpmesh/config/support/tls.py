"""The fields of TLS."""

from __future__ import annotations

from tcpmesh.config.support.rows import YES, Rows, no_effect, refused

_TLS = "envoy.extensions.transport_sockets.tls.v3."

_START_TLS = "envoy.extensions.transport_sockets.starttls.v3."

_PLAIN: Rows = {
    "cleartext_socket_config": no_effect("it has nothing to say"),
    "tls_socket_config": no_effect(
        "no filter asks for TLS, as in Envoy's usual build, so bytes stay plain"
    ),
}

_TICKETS = refused(
    "the library for TLS cannot be given keys for session tickets; it makes its own, so a session "
    "is resumed by the worker that began it"
)
_SELECTOR = refused("certificates are chosen by their names, and none on demand")

#: What an `@type` may name.
EXTENSIONS: dict[str, Rows] = {
    f"{_TLS}DownstreamTlsContext": {
        "common_tls_context": YES,
        "require_client_certificate": YES,
        "require_sni": no_effect("Envoy does nothing with it either"),
        "session_ticket_keys": _TICKETS,
        "session_ticket_keys_sds_secret_config": _TICKETS,
        "disable_stateless_session_resumption": YES,
        "disable_stateful_session_resumption": YES,
        "session_timeout": YES,
        "ocsp_staple_policy": YES,
        "full_scan_certs_on_sni_mismatch": YES,
        "prefer_client_ciphers": YES,
    },
    f"{_TLS}UpstreamTlsContext": {
        "common_tls_context": YES,
        "sni": YES,
        "auto_host_sni": YES,
        "auto_sni_san_validation": YES,
        "allow_renegotiation": YES,
        "max_session_keys": YES,
        "enforce_rsa_key_usage": no_effect("it is enforced in any case, as in Envoy"),
    },
    f"{_START_TLS}StartTlsConfig": _PLAIN,
    f"{_START_TLS}UpstreamStartTlsConfig": _PLAIN,
    f"{_TLS}SPIFFECertValidatorConfig": {"trust_domains": YES, "trust_bundles": YES},
}

#: The types of their fields.
PARTS: dict[str, Rows] = {
    f"{_TLS}CommonTlsContext": {
        "tls_params": YES,
        "tls_certificates": YES,
        "tls_certificate_sds_secret_configs": YES,
        "custom_tls_certificate_selector": _SELECTOR,
        "validation_context": YES,
        "validation_context_sds_secret_config": YES,
        "combined_validation_context": YES,
        "alpn_protocols": YES,
        "key_log": YES,
        "custom_handshaker": refused("the handshake is OpenSSL's own"),
    },
    f"{_TLS}CommonTlsContext.CombinedCertificateValidationContext": {
        "default_validation_context": YES,
        "validation_context_sds_secret_config": YES,
    },
    f"{_TLS}TlsKeyLog": {
        "path": YES,
        "local_address_range": YES,
        "remote_address_range": YES,
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
        "ocsp_staple": YES,
        "watched_directory": YES,
        "private_key_provider": refused("private keys are used by OpenSSL alone"),
    },
    f"{_TLS}CertificateValidationContext": {
        "trusted_ca": YES,
        "system_root_certs": refused(
            "Envoy does nothing with it, and would verify nobody: name a file in trusted_ca"
        ),
        "verify_certificate_spki": YES,
        "verify_certificate_hash": YES,
        "match_typed_subject_alt_names": YES,
        "match_subject_alt_names": YES,
        "crl": YES,
        "watched_directory": YES,
        "allow_expired_certificate": YES,
        "trust_chain_verification": YES,
        "custom_validator_config": YES,
        "only_verify_leaf_cert_crl": YES,
        "max_verify_depth": YES,
        "suppress_client_ca_list": YES,
    },
    f"{_TLS}SubjectAltNameMatcher": {"san_type": YES, "matcher": YES, "oid": YES},
    f"{_TLS}SPIFFECertValidatorConfig.TrustDomain": {"name": YES, "trust_bundle": YES},
    f"{_TLS}Secret": {
        "name": YES,
        "tls_certificate": YES,
        "session_ticket_keys": _TICKETS,
        "validation_context": YES,
        "generic_secret": refused("nothing here reads one"),
    },
    f"{_TLS}SdsSecretConfig": {
        "name": YES,
        "sds_config": YES,
    },
}
