"""A `TlsCertificate`: a certificate, its chain and its private key."""

from __future__ import annotations

import os
from typing import Any

from tcpmesh.config.fields.values import source_bytes
from tcpmesh.net.tls.material import Certificate, read_pair, read_pkcs12


def certificate(message: Any) -> Certificate:
    """The certificate of a `TlsCertificate`.

    :raise ValueError: it is of no use.
    """
    password = source_bytes(message.password, os.environ) if message.HasField("password") else None
    if message.HasField("pkcs12"):
        return read_pkcs12(source_bytes(message.pkcs12, os.environ) or b"", password)
    chain = source_bytes(message.certificate_chain, os.environ) or b""
    return read_pair(chain, source_bytes(message.private_key, os.environ) or b"", password)
