"""A `CertificateValidationContext`: what a peer's certificate is held against."""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import SubjectAltNameMatcher
from envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import (
    SPIFFECertValidatorConfig,
)

from tcpmesh.config.checks.tls.sources import name_of, read_part
from tcpmesh.config.fields.files import read_source
from tcpmesh.config.fields.tls.parts import WrongHash, hash_of_base64, hash_of_hex
from tcpmesh.config.fields.tls.spiffe import read_bundles
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath
from tcpmesh.net.tls.material import MaterialError, read_authorities, read_revocation_lists
from tcpmesh.net.tls.parsing import parse

_SPIFFE = "envoy.tls.cert_validator.spiffe"


def check_validation(context: Any, field_path: FieldPath, report: Report) -> None:
    """Report what is wrong with a context that is whole: of a combined one, both parts in one."""
    has_validator = context.HasField("custom_validator_config")
    if has_validator:
        _check_validator(context.custom_validator_config, field_path, report)
    if context.HasField("trusted_ca"):
        _check_authorities(context, field_path, report)
    elif not has_validator:
        _check_without_authority(context, field_path, report)
    if context.HasField("crl"):
        _check_lists(context, field_path, report)
    _check_names(context, field_path, report)
    for field, read in (
        ("verify_certificate_spki", hash_of_base64),
        ("verify_certificate_hash", hash_of_hex),
    ):
        for index, text in enumerate(getattr(context, field)):
            try:
                read(text)
            except WrongHash as error:
                report.error(((field_path, field), index), str(error))


def demands_nothing(context: Any) -> bool:
    """Whether any certificate does."""
    return not (
        context.HasField("trusted_ca")
        or context.HasField("custom_validator_config")
        or context.verify_certificate_spki
        or context.verify_certificate_hash
    )


def _check_without_authority(context: Any, field_path: FieldPath, report: Report) -> None:
    for field in ("match_typed_subject_alt_names", "match_subject_alt_names"):
        if getattr(context, field):
            report.error(
                (field_path, field),
                "names in a certificate say nothing without a trusted CA: set trusted_ca",
            )
    if context.HasField("crl"):
        text = "a revocation list says nothing without a trusted CA: set trusted_ca"
        report.error((field_path, "crl"), text)
    if context.allow_expired_certificate:
        report.error(
            (field_path, "allow_expired_certificate"),
            "without a trusted CA nobody looks when a certificate expires: set trusted_ca",
        )


def _check_authorities(context: Any, field_path: FieldPath, report: Report) -> None:
    data, here = read_part(context, "trusted_ca", report), (field_path, "trusted_ca")
    if data is None:
        return
    name = f"the CA certificates {name_of(context.trusted_ca)}"
    try:
        found = read_authorities(data)
    except MaterialError as error:
        report.error(here, f"{name}: {error}")
        return
    if not context.allow_expired_certificate and all(map(_has_expired, found.certificates)):
        report.warning(here, f"{name} have expired: no certificate of theirs is accepted")


def _has_expired(der: bytes) -> bool:
    now = datetime.datetime.now(datetime.timezone.utc)
    try:
        return parse(der).not_valid_after_utc < now
    except ValueError:
        return False


def _check_lists(context: Any, field_path: FieldPath, report: Report) -> None:
    data, here = read_part(context, "crl", report), (field_path, "crl")
    if data is None:
        return
    name = f"the revocation lists {name_of(context.crl)}"
    try:
        if not read_revocation_lists(data):
            report.warning(here, f"{name}: there is none, so no certificate is accepted")
    except MaterialError as error:
        report.error(here, f"{name}: {error}")


def _check_names(context: Any, field_path: FieldPath, report: Report) -> None:
    for index, each in enumerate(context.match_typed_subject_alt_names):
        if each.san_type != SubjectAltNameMatcher.OTHER_NAME:
            continue
        try:
            x509.ObjectIdentifier(each.oid)
        except ValueError:
            here: FieldPath = (((field_path, "match_typed_subject_alt_names"), index), "oid")
            text = f"OTHER_NAME needs the object identifier of the names, {each.oid!r} is none"
            report.error(here, text)


def _check_validator(config: Any, field_path: FieldPath, report: Report) -> None:
    here = (field_path, "custom_validator_config")
    if config.name != _SPIFFE:
        text = f"there is no validator {config.name!r}; Envoy finds it by its name, not its type"
        report.error((here, "name"), text, f"it is {_SPIFFE}")
    spiffe = SPIFFECertValidatorConfig()
    if config.typed_config.Unpack(spiffe):
        _check_spiffe(spiffe, (here, "typed_config"), report)


def _check_spiffe(config: Any, field_path: FieldPath, report: Report) -> None:
    if config.HasField("trust_bundles"):
        data = read_source(config.trust_bundles, report)
        try:
            if data is not None:
                read_bundles(data)
        except MaterialError as error:
            report.error((field_path, "trust_bundles"), str(error))
        return
    seen = set()
    for index, each in enumerate(config.trust_domains):
        here = ((field_path, "trust_domains"), index)
        if each.name in seen:
            report.error((here, "name"), f"the trust domain {each.name!r} is there twice")
        seen.add(each.name)
        _check_bundle(each, (here, "trust_bundle"), report)


def _check_bundle(domain: Any, field_path: FieldPath, report: Report) -> None:
    data = read_part(domain, "trust_bundle", report)
    if data is None:
        if not domain.HasField("trust_bundle"):
            report.error(field_path, f"the trust domain {domain.name!r} needs a trust_bundle")
        return
    try:
        read_authorities(data)
    except MaterialError as error:
        name = f"the bundle {name_of(domain.trust_bundle)}"
        report.error(field_path, f"{name}: {error}")
