"""`TlsCertificate`: a certificate, its chain and its private key, where a configuration has them.

Each part is a file, an environment variable, or stands in the configuration itself; they are read
when this is called, and not again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from tcpmesh.config.fields.tls.secrets import CERTIFICATE, Secrets, key_of
from tcpmesh.config.fields.values import source_bytes
from tcpmesh.net.tls.material import (
    Certificate,
    MaterialError,
    read_pair,
    read_pkcs12,
    with_staple,
)
from tcpmesh.values.shared.secrets import NO_SECRETS


def certificates(common: Any, secrets: Secrets = NO_SECRETS) -> tuple[Certificate, ...]:
    """Those of a `CommonTlsContext`.

    :param secrets: those that are there.
    :raise MaterialError: one is of no use.
    :raise LookupError: a secret that is named is not there.
    """
    messages = messages_of(common, secrets)
    return tuple(certificate(each) for each in messages if each.ByteSize())


def messages_of(common: Any, secrets: Secrets) -> list[Any]:
    """The `TlsCertificate` messages of a `CommonTlsContext`, its own and those of secrets.

    :raise LookupError: a secret that is named is not there.
    """
    named = common.tls_certificate_sds_secret_configs
    return [
        *common.tls_certificates,
        *(secrets[key_of(CERTIFICATE, each)] for each in named),
    ]


def certificate(message: Any, environ: Mapping[str, str] = os.environ) -> Certificate:
    """The certificate of a `TlsCertificate`.

    :raise MaterialError: it is of no use.
    """
    password = _bytes(message, "password", environ) or None
    if message.HasField("pkcs12"):
        found = read_pkcs12(_bytes(message, "pkcs12", environ), password)
    else:
        chain = _bytes(message, "certificate_chain", environ)
        found = read_pair(chain, _bytes(message, "private_key", environ), password)
    staple = _bytes(message, "ocsp_staple", environ)
    return with_staple(found, staple) if staple else found


def _bytes(message: Any, part: str, environ: Mapping[str, str]) -> bytes:
    if not message.HasField(part):
        return b""
    found = source_bytes(getattr(message, part), environ)
    if found is None:
        raise MaterialError(f"{part} cannot be read", part)
    return found
