"""What counts where a configuration of TLS is silent."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.explain.rows import INSIDE, Default, Defaults
from tcpmesh.config.fields.to_plain import Json


def _believed(common: Any) -> Json:
    """Whom a context without one believes; secrets may bring it."""
    is_there = common.WhichOneof("validation_context_type") is not None
    return None if is_there else "everybody: nothing is verified"


_SOCKETS = "envoy.extensions.transport_sockets.tls.v3."
TLS: dict[str, Defaults] = {
    _SOCKETS + "DownstreamTlsContext": {
        "common_tls_context": Default(value=INSIDE),
        "require_client_certificate": Default("clients without one are refused", False),
        "session_timeout": Default("a session can be resumed for so long", "7200s"),
        "ocsp_staple_policy": Default("where a response is missing or old", "LENIENT_STAPLING"),
        "full_scan_certs_on_sni_mismatch": Default("whom an unknown name gets", False),
        "prefer_client_ciphers": Default("whose order of cipher suites holds", False),
    },
    _SOCKETS + "UpstreamTlsContext": {
        "common_tls_context": Default(value=INSIDE),
        "sni": Default("hosts are asked for this name", unset="no name"),
        "auto_host_sni": Default("or for the name that they have here", False),
        "auto_sni_san_validation": Default("whether they must be who was asked for", False),
        "allow_renegotiation": Default(value=False),
        "max_session_keys": Default("so many sessions are kept to be resumed", 1, zero="none is"),
    },
    _SOCKETS + "CommonTlsContext": {
        "tls_params": Default(value=INSIDE),
        "validation_context": Default("whom to believe", _believed),
        "alpn_protocols": Default("offered or chosen from, the best first", unset="none"),
    },
    _SOCKETS + "TlsParameters": {
        "tls_minimum_protocol_version": Default(value="TLSv1_2"),
        "tls_maximum_protocol_version": Default(unset="TLSv1_3 for clients, TLSv1_2 for hosts"),
        "cipher_suites": Default(
            "of TLS 1.2", unset="ECDHE with AES128-GCM or CHACHA20, then with AES256-GCM"
        ),
        "ecdh_curves": Default("the best first", unset="X25519MLKEM768, X25519, P-256"),
    },
}
