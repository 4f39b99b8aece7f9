"""`SPIFFECertValidatorConfig`: trust domains, each with authorities of its own.

Domains stand in the configuration with a bundle in PEM each, or all of them in one file of JSON, as
the SPIFFE Federation standard has it: `trust_domains` by their names, each with `keys`, of which
those for `x509-svid` have certificates in `x5c`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from tcpmesh.config.fields.values import source_bytes
from tcpmesh.net.tls.material import MaterialError, read_authorities
from tcpmesh.net.tls.parsing import parse

Bundles = dict[str, tuple[bytes, ...]]
"""Authorities in DER, by trust domain."""


def trust_bundles(config: Any, environ: Mapping[str, str]) -> Bundles:
    """The authorities of each domain of a configuration.

    :raise MaterialError: a bundle cannot be read, or has no certificate.
    """
    if config.HasField("trust_bundles"):
        return read_bundles(source_bytes(config.trust_bundles, environ) or b"")
    return {
        each.name: read_authorities(source_bytes(each.trust_bundle, environ) or b"").certificates
        for each in config.trust_domains
    }


def read_bundles(data: bytes) -> Bundles:
    """The authorities of each domain of a file of JSON.

    :raise MaterialError: it is no such file.
    """
    try:
        domains = json.loads(data)["trust_domains"]
        found = {name: _certificates(name, domain) for name, domain in domains.items()}
    except MaterialError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise MaterialError("the trust bundles are no bundle map of SPIFFE in JSON") from None
    if not found:
        raise MaterialError("the trust bundles have no trust domain")
    return found


def _certificates(name: str, domain: Mapping[str, Any]) -> tuple[bytes, ...]:
    keys = domain.get("keys")
    if not keys:
        raise MaterialError(f"the trust domain {name!r} has no keys")
    found: list[bytes] = []
    for key in keys:
        if key.get("use") != "x509-svid":
            raise MaterialError(f"the trust domain {name!r} has a key that is not for x509-svid")
        if not key.get("x5c"):
            raise MaterialError(f"the trust domain {name!r} has a key without certificates (x5c)")
        found += [_der(name, text) for text in key["x5c"]]
    return tuple(found)


def _der(name: str, text: str) -> bytes:
    try:
        der = base64.b64decode(text, validate=True)
        parse(der)
    except (binascii.Error, ValueError):
        text = f"a certificate of the trust domain {name!r} cannot be read"
        raise MaterialError(text) from None
    return der
