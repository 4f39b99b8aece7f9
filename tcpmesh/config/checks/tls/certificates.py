"""A `TlsCertificate`, as the side on which it is shown needs it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from tcpmesh.config.checks.tls.sources import name_of, read_part
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath
from tcpmesh.net.tls.material import (
    Certificate,
    MaterialError,
    has_name,
    read_chain,
    read_key,
    read_pair,
    read_pkcs12,
    with_staple,
)

_Material = TypeVar("_Material")
_PARTS = {
    "certificate_chain": "the certificate",
    "private_key": "the private key",
    "password": "the password",
    "pkcs12": "the archive",
    "ocsp_staple": "the OCSP response",
}


def check_certificate(
    message: Any, field_path: FieldPath, report: Report, *, is_server: bool, must_staple: bool
) -> None:
    """Report what is wrong with a certificate.

    :param is_server: whether clients are shown it.
    :param must_staple: whether each has to have an OCSP response.
    """
    if not message.ByteSize():
        if is_server:
            text = "a TLS certificate needs a certificate_chain with its private_key, or a pkcs12"
            report.error(field_path, text)
        return
    _check_staple_source(message, field_path, report)
    certificate = (
        _read_archive(message, field_path, report)
        if message.HasField("pkcs12")
        else _read_pair(message, field_path, report)
    )
    if certificate is None:
        return
    _check_times(certificate, message, field_path, report)
    if is_server:
        _check_server(certificate, message, field_path, report, must_staple=must_staple)


def _attempt(
    read: Callable[[], _Material], message: Any, field_path: FieldPath, report: Report
) -> _Material | None:
    """What is read; `None` where that fails, which is reported."""
    try:
        return read()
    except MaterialError as error:
        part = error.part
        where = f"{_PARTS[part]} {name_of(getattr(message, part))}"
        report.error((field_path, part), f"{where}: {error}")
        return None


def _read_archive(message: Any, field_path: FieldPath, report: Report) -> Certificate | None:
    for other in ("certificate_chain", "private_key", "private_key_provider"):
        if message.HasField(other):
            report.error((field_path, other), f"a TLS certificate has a pkcs12, or a {other}")
            return None
    data, password = read_part(message, "pkcs12", report), read_part(message, "password", report)
    if data is None:
        return None
    return _attempt(partial(read_pkcs12, data, password), message, field_path, report)


def _read_pair(message: Any, field_path: FieldPath, report: Report) -> Certificate | None:
    has_provider = message.HasField("private_key_provider")
    if not message.HasField("certificate_chain"):
        report.absent(
            field_path, ["certificate_chain"], "a TLS certificate needs a certificate_chain"
        )
    if not message.HasField("private_key") and not has_provider:
        report.absent(
            field_path, ["private_key"], "a TLS certificate needs its private key (private_key)"
        )
    chain = read_part(message, "certificate_chain", report)
    key = read_part(message, "private_key", report)
    password = read_part(message, "password", report)
    if chain is not None and key is not None:
        with suppress(MaterialError):
            return read_pair(chain, key, password)
    # Something is wrong; perhaps more than one thing.
    read = partial(_attempt, message=message, field_path=field_path, report=report)
    is_chain = chain is not None and read(partial(read_chain, chain)) is not None
    is_key = key is not None and read(partial(read_key, key, password)) is not None
    if is_chain and is_key and chain is not None and key is not None:
        read(partial(read_pair, chain, key, password))
    return None


def _check_staple_source(message: Any, field_path: FieldPath, report: Report) -> None:
    if message.ocsp_staple.WhichOneof("specifier") == "inline_string":
        report.error(
            (field_path, "ocsp_staple"),
            "an OCSP response is no text: give it as inline_bytes or as a file",
        )


def _check_times(
    certificate: Certificate, message: Any, field_path: FieldPath, report: Report
) -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    part = "pkcs12" if message.HasField("pkcs12") else "certificate_chain"
    where = f"{_PARTS[part]} {name_of(getattr(message, part))}"
    try:
        begins = certificate.x509.not_valid_before_utc
        ends = certificate.x509.not_valid_after_utc
    except ValueError:
        return
    if ends < now:
        report.warning((field_path, part), f"{where} has expired on {ends:%Y-%m-%d}")
    if begins > now:
        report.warning((field_path, part), f"{where} is not valid before {begins:%Y-%m-%d}")


def _check_server(
    certificate: Certificate,
    message: Any,
    field_path: FieldPath,
    report: Report,
    *,
    must_staple: bool,
) -> None:
    if not has_name(certificate.x509):
        report.error(
            field_path,
            "the certificate has neither a common name nor alternative names: no client would know "
            "whose it is",
        )
    is_text = message.ocsp_staple.WhichOneof("specifier") == "inline_string"
    staple = None if is_text else read_part(message, "ocsp_staple", report)
    if staple:
        _attempt(partial(with_staple, certificate, staple), message, field_path, report)
    elif not message.HasField("ocsp_staple"):
        if certificate.must_staple:
            text = "the certificate demands that an OCSP response comes with it: set ocsp_staple"
            report.absent(field_path, ["ocsp_staple"], text)
        elif must_staple:
            text = "with the policy MUST_STAPLE each certificate needs an ocsp_staple"
            report.absent(field_path, ["ocsp_staple"], text)
