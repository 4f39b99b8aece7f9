"""A `CertificateValidationContext`: what a peer's certificate is held against."""

from __future__ import annotations

import os
from typing import Any

from tcpmesh.config.fields.values import source_bytes
from tcpmesh.net.tls.material import read_authorities
from tcpmesh.net.tls.verifier import ValidationSettings


def validation_settings(common: Any) -> ValidationSettings | None:
    """What the `CommonTlsContext` demands; `None` for nothing.

    :raise ValueError: an authority is none.
    """
    if not common.HasField("validation_context"):
        return None
    context = common.validation_context
    if not context.HasField("trusted_ca"):
        return ValidationSettings()
    found = read_authorities(source_bytes(context.trusted_ca, os.environ) or b"")
    return ValidationSettings(trusted_ca=found.certificates)
