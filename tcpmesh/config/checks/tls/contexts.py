"""`DownstreamTlsContext` and `UpstreamTlsContext`, with all that is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.extensions.transport_sockets.tls.v3 import common_pb2, tls_pb2

from tcpmesh.config.checks.tls.certificates import check_certificate
from tcpmesh.config.checks.tls.validation import check_validation, demands_nothing
from tcpmesh.config.fields.files import check_writable
from tcpmesh.config.fields.tls.parts import tls_parameters, validation_context
from tcpmesh.config.fields.tls.secrets import Secrets, static_secrets
from tcpmesh.config.messages.report import Report
from tcpmesh.config.messages.scalars import did_you_mean
from tcpmesh.config.text.problems import FieldPath
from tcpmesh.net.tls.ciphers import BadCiphers
from tcpmesh.net.tls.names import BadName, algorithms, curves

_TICKET_KEY = 80
_LONGEST_PROTOCOL = 255
_COMBINED = "combined_validation_context"
_NAMED = "validation_context_sds_secret_config"

NOT_YET = common_pb2.CertificateValidationContext()
"""Stands for the validation context that discovery will bring."""


def check_downstream(context: Any, field_path: FieldPath, report: Report) -> None:
    """Report what is wrong with TLS for clients."""
    common, here = context.common_tls_context, (field_path, "common_tls_context")
    must_staple = context.ocsp_staple_policy == tls_pb2.DownstreamTlsContext.MUST_STAPLE
    if not any(
        (
            common.tls_certificates,
            common.tls_certificate_sds_secret_configs,
            common.HasField("custom_tls_certificate_selector"),
        )
    ):
        text = "TLS for clients needs a certificate (tls_certificates)"
        report.absent(here, ["tls_certificates"], text)
    if common.tls_certificates and common.tls_certificate_sds_secret_configs:
        report.error(
            (here, "tls_certificate_sds_secret_configs"),
            "certificates stand in tls_certificates or are named here, not both",
        )
    _check_certificates(common, here, report, is_server=True, must_staple=must_staple)
    validation = _check_common(common, here, report, is_server=True)
    for index, key in enumerate(context.session_ticket_keys.keys):
        _check_ticket_key(key, ((field_path, "session_ticket_keys"), index), report)
    if context.require_client_certificate.value and _demands_nothing(validation):
        report.warning(
            (field_path, "require_client_certificate"),
            "no client is asked for a certificate, and all are served: there is nothing to hold it "
            "against",
            "set trusted_ca in a validation_context",
        )


def _demands_nothing(validation: Any | None) -> bool:
    return validation is None or (validation is not NOT_YET and demands_nothing(validation))


def _check_ticket_key(key: Any, field_path: FieldPath, report: Report) -> None:
    size = len(key.inline_bytes or key.inline_string.encode())
    if key.WhichOneof("specifier") in ("inline_bytes", "inline_string") and size != _TICKET_KEY:
        report.error(field_path, f"a session ticket key has {_TICKET_KEY} bytes, this has {size}")


def check_upstream(context: Any, field_path: FieldPath, report: Report) -> None:
    """Report what is wrong with TLS for hosts."""
    common, here = context.common_tls_context, (field_path, "common_tls_context")
    count = len(common.tls_certificates) + len(common.tls_certificate_sds_secret_configs)
    if count > 1:
        text = "hosts are shown one certificate only"
        report.error((here, "tls_certificates"), text)
    if "\0" in context.sni:
        report.error((field_path, "sni"), "a name has no zero byte")
    _check_certificates(common, here, report, is_server=False, must_staple=False)
    validation = _check_common(common, here, report, is_server=False)
    if validation is NOT_YET:
        return
    if context.auto_sni_san_validation and (
        validation is None or not validation.HasField("trusted_ca")
    ):
        report.error(
            (field_path, "auto_sni_san_validation"),
            "names in a certificate say nothing without a trusted CA: set trusted_ca",
        )
    elif _demands_nothing(validation):
        report.warning(
            here,
            "no host is verified: whoever answers is believed",
            "set trusted_ca in a validation_context",
        )


def _check_certificates(
    common: Any, field_path: FieldPath, report: Report, *, is_server: bool, must_staple: bool
) -> None:
    for message, here in _certificates(common, field_path, report):
        check_certificate(message, here, report, is_server=is_server, must_staple=must_staple)


def _certificates(
    common: Any, field_path: FieldPath, report: Report
) -> Iterator[tuple[Any, FieldPath]]:
    for index, each in enumerate(common.tls_certificates):
        _check_watched(each, ((field_path, "tls_certificates"), index), report)
        yield each, ((field_path, "tls_certificates"), index)
    here = (field_path, "tls_certificate_sds_secret_configs")
    for index, each in enumerate(common.tls_certificate_sds_secret_configs):
        found = _secret(each, "tls_certificate", (here, index), report)
        if found is not None:
            yield found


def _secret(
    config: Any, kind: str, field_path: FieldPath, report: Report
) -> tuple[Any, FieldPath] | None:
    """A static secret that is named, and where it stands; `None` where discovery brings it."""
    if config.HasField("sds_config") or not config.name:
        return None
    secrets = report.bootstrap.static_resources.secrets
    for index, each in enumerate(secrets):
        if each.WhichOneof("type") == kind and each.name == config.name:
            root: FieldPath = (((None, "static_resources"), "secrets"), index)
            _check_watched(getattr(each, kind), (root, kind), report)
            return getattr(each, kind), (root, kind)
    names = {each.name: None for each in secrets if each.WhichOneof("type") == kind}
    text = f"there is no static secret {config.name!r} with a {kind}"
    report.error((field_path, "name"), text, did_you_mean(config.name, names))
    return None


def _check_common(
    common: Any, field_path: FieldPath, report: Report, *, is_server: bool
) -> Any | None:
    """Check what both sides have; what peers are held against, if anything."""
    _check_parameters(common.tls_params, (field_path, "tls_params"), report, is_server)
    for index, each in enumerate(common.alpn_protocols):
        if any(len(part.encode()) > _LONGEST_PROTOCOL for part in each.split(",")):
            text = f"the name of a protocol has at most {_LONGEST_PROTOCOL} bytes"
            report.error(((field_path, "alpn_protocols"), index), text)
    if common.HasField("key_log"):
        check_writable(common.key_log.path, ((field_path, "key_log"), "path"), report)
    return _check_validation(common, field_path, report)


def _check_parameters(params: Any, field_path: FieldPath, report: Report, is_server: bool) -> None:
    version = params.TlsProtocol.Name
    try:
        found = tls_parameters(params, is_server=is_server)
    except BadCiphers as error:
        report.error((field_path, "cipher_suites"), str(error))
        return
    except BadName as error:
        field = "ecdh_curves"
        try:
            curves(params.ecdh_curves)
            algorithms(params.signature_algorithms)
        except BadName as again:
            field = "ecdh_curves" if "curve" in str(again) else "signature_algorithms"
        report.error((field_path, field), str(error))
        return
    if found.minimum > found.maximum:
        low = version(params.tls_minimum_protocol_version)
        report.warning(
            (field_path, "tls_minimum_protocol_version"),
            f"there is no version from {low} on that may be used: no handshake will succeed",
            "set tls_maximum_protocol_version",
        )


def _check_validation(common: Any, field_path: FieldPath, report: Report) -> Any | None:
    kind = common.WhichOneof("validation_context_type")
    secrets: Secrets = static_secrets(report.bootstrap.static_resources.secrets)
    if kind in (_NAMED, _COMBINED):
        named = (
            common.validation_context_sds_secret_config
            if kind == _NAMED
            else common.combined_validation_context.validation_context_sds_secret_config
        )
        here = (field_path, _NAMED) if kind == _NAMED else ((field_path, _COMBINED), _NAMED)
        found = _secret(named, "validation_context", here, report)
        if found is None:
            # What discovery is to bring is not known yet.
            return NOT_YET if named.name else None
        path = (
            found[1]
            if kind == _NAMED
            else (((field_path, _COMBINED), "default_validation_context"))
        )
        context = validation_context(common, secrets)
        check_validation(context, path, report)
        return context
    context = validation_context(common, secrets)
    if context is not None:
        here = (field_path, "validation_context")
        _check_watched(context, here, report)
        check_validation(context, here, report)
    return context


def _check_watched(message: Any, field_path: FieldPath, report: Report) -> None:
    """Envoy takes it everywhere, and looks after files only where discovery names them."""
    if message.HasField("watched_directory"):
        report.warning(
            (field_path, "watched_directory"),
            "nobody looks after it: only files of a secret that discovery brings are read again",
            "name the secret with an sds_config",
        )
