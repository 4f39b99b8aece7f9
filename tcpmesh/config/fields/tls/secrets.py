"""Secrets by the names that contexts have for them: static ones (`static_resources.secrets`), and
those of discovery (`sds_config`).  Each kind has names of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

from tcpmesh.values.shared.secrets import SecretKey

CERTIFICATE, VALIDATION = "tls_certificate", "validation_context"
"""The kinds of secrets."""

Secrets: TypeAlias = Mapping[SecretKey, Any]
"""The contents of secrets."""


def static_secrets(messages: Iterable[Any]) -> Secrets:
    """What is in `tls.v3.Secret` messages."""
    found = ((each.WhichOneof("type") or "", each) for each in messages)
    return {(kind, each.name): getattr(each, kind) for kind, each in found if kind}


def key_of(kind: str, config: Any) -> SecretKey:
    """The key of the secret that a `tls.v3.SdsSecretConfig` means."""
    if not config.HasField("sds_config"):
        return kind, config.name
    source = config.sds_config.SerializeToString(deterministic=True)
    return kind, config.name, blake2b(source, digest_size=16).hexdigest()


def validation_secret(common: Any) -> Any:
    """The `SdsSecretConfig` of a `CommonTlsContext` for whom to believe, or `None`."""
    kind = common.WhichOneof("validation_context_type")
    if kind == "validation_context_sds_secret_config":
        return common.validation_context_sds_secret_config
    if kind == "combined_validation_context":
        return common.combined_validation_context.validation_context_sds_secret_config
    return None


def discovered_secrets(common: Any) -> Iterator[tuple[SecretKey, Any]]:
    """The secrets of a `CommonTlsContext` that discovery brings: their keys, and the
    `SdsSecretConfig` of each.
    """
    named = [(CERTIFICATE, each) for each in common.tls_certificate_sds_secret_configs]
    believed = validation_secret(common)
    if believed is not None:
        named.append((VALIDATION, believed))
    for kind, config in named:
        if config.HasField("sds_config"):
            yield key_of(kind, config), config
