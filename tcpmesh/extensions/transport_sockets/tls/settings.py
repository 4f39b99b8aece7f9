"""From the messages of a configuration to `TlsSettings`."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.fields.tls.parts import tls_parameters
from tcpmesh.config.fields.tls.secrets import Secrets
from tcpmesh.extensions.transport_sockets.tls.certificates import certificates
from tcpmesh.extensions.transport_sockets.tls.validation_context import validation_settings
from tcpmesh.net.tls.settings import KeyLog, Resumption, StaplePolicy, TlsSettings

_STAPLING = (StaplePolicy.LENIENT, StaplePolicy.STRICT, StaplePolicy.MUST_STAPLE)


def downstream(message: Any, secrets: Secrets) -> TlsSettings:
    """Those of a `DownstreamTlsContext`.

    :param secrets: those that are there.
    :raise ValueError: its material is of no use.
    :raise LookupError: a secret that is named is not there.
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
        **_common(message.common_tls_context, secrets, is_server=True),
    )


def upstream(message: Any, secrets: Secrets) -> TlsSettings:
    """Those of an `UpstreamTlsContext`.

    :param secrets: those that are there.
    :raise ValueError: its material is of no use.
    :raise LookupError: a secret that is named is not there.
    """
    keys = message.max_session_keys
    return TlsSettings(
        is_server=False,
        server_name=message.sni,
        host_name_as_server_name=message.auto_host_sni,
        expect_server_name=message.auto_sni_san_validation,
        allow_renegotiation=message.allow_renegotiation,
        sessions_kept=keys.value if message.HasField("max_session_keys") else 1,
        **_common(message.common_tls_context, secrets, is_server=False),
    )


def _common(common: Any, secrets: Secrets, *, is_server: bool) -> dict[str, Any]:
    """What a `CommonTlsContext` says."""
    return {
        "certificates": certificates(common, secrets),
        "parameters": tls_parameters(common.tls_params, is_server=is_server),
        "application_protocols": tuple(common.alpn_protocols),
        "validation": validation_settings(common, secrets),
        "key_log": key_log(common),
    }


def key_log(common: Any) -> KeyLog | None:
    """Where a `CommonTlsContext` has the secrets of handshakes written, if it does."""
    message = common.key_log
    if not common.HasField("key_log"):
        return None
    return KeyLog(
        message.path, _ranges(message.local_address_range), _ranges(message.remote_address_range)
    )


def _ranges(messages: Any) -> tuple[str, ...]:
    return tuple(f"{each.address_prefix}/{each.prefix_len.value}" for each in messages)
