"""`CertificateValidationContext`: what a peer's certificate is held against."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from envoy.extensions.transport_sockets.tls.v3.tls_spiffe_validator_config_pb2 import (
    SPIFFECertValidatorConfig,
)

from tcpmesh.config.fields.tls.parts import (
    hash_of_base64,
    hash_of_hex,
    name_matcher,
    pattern_matcher,
    validation_context,
)
from tcpmesh.config.fields.tls.secrets import Secrets
from tcpmesh.config.fields.tls.spiffe import trust_bundles
from tcpmesh.config.fields.values import source_bytes
from tcpmesh.net.tls.material import MaterialError, read_authorities, read_revocation_lists
from tcpmesh.net.tls.subject_names import NameKind, NameMatcher
from tcpmesh.net.tls.verifier import TrustDomain, ValidationSettings
from tcpmesh.values.shared.secrets import NO_SECRETS


def validation_settings(common: Any, secrets: Secrets = NO_SECRETS) -> ValidationSettings | None:
    """What a `CommonTlsContext` demands; `None` for nothing.

    :param secrets: those that are there.
    :raise ValueError: an authority, a list or a hash is none.
    :raise LookupError: a secret that is named is not there.
    """
    context = validation_context(common, secrets)
    return None if context is None else settings_of(context)


def settings_of(context: Any, environ: Mapping[str, str] = os.environ) -> ValidationSettings:
    """What a `CertificateValidationContext` demands.

    :raise ValueError: an authority, a list or a hash is none.
    """
    bundle: tuple[bytes, ...] = ()
    lists: tuple[bytes, ...] = ()
    if context.HasField("trusted_ca"):
        found = read_authorities(_bytes(context.trusted_ca, environ, "trusted_ca"))
        bundle, lists = found.certificates, found.revocation_lists
    if context.HasField("crl"):
        lists += read_revocation_lists(_bytes(context.crl, environ, "crl"))
    return ValidationSettings(
        trusted_ca=bundle,
        crl=lists,
        checks_revocation=bool(lists) or context.HasField("crl"),
        only_verify_leaf_cert_crl=context.only_verify_leaf_cert_crl,
        san_matchers=tuple(_matchers(context)),
        verify_certificate_hash=frozenset(map(hash_of_hex, context.verify_certificate_hash)),
        verify_certificate_spki=frozenset(map(hash_of_base64, context.verify_certificate_spki)),
        accept_untrusted=context.trust_chain_verification == context.ACCEPT_UNTRUSTED,
        allow_expired_certificate=context.allow_expired_certificate,
        max_verify_depth=context.max_verify_depth.value
        if context.HasField("max_verify_depth")
        else None,
        suppress_client_ca_list=context.suppress_client_ca_list,
        trust_domains=_trust_domains(context, environ),
    )


def _bytes(source: Any, environ: Mapping[str, str], part: str) -> bytes:
    found = source_bytes(source, environ)
    if found is None:
        raise MaterialError(f"{part} cannot be read")
    return found


def _matchers(context: Any) -> Iterator[NameMatcher]:
    yield from map(name_matcher, context.match_typed_subject_alt_names)
    if not context.match_typed_subject_alt_names:
        for each in context.match_subject_alt_names:
            yield pattern_matcher(NameKind.ANY, each)


def _trust_domains(context: Any, environ: Mapping[str, str]) -> tuple[TrustDomain, ...] | None:
    config = SPIFFECertValidatorConfig()
    if not context.custom_validator_config.typed_config.Unpack(config):
        return None
    bundles = trust_bundles(config, environ)
    return tuple(TrustDomain(name, authorities) for name, authorities in bundles.items())
