"""`SPIFFECertValidatorConfig`: peers that are named by SPIFFE IDs, each of a trust domain that has
authorities of its own.

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
from tcpmesh.net.tls.verifier import TrustDomain


def trust_domains(config: Any, environ: Mapping[str, str]) -> tuple[TrustDomain, ...]:
    """The domains of a configuration.

    :raise MaterialError: a bundle cannot be read, has no certificate, or is the second of a domain.
    """
    if config.HasField("trust_bundles"):
        return read_bundles(_bytes(config.trust_bundles, environ, "trust_bundles"))
    found: dict[str, TrustDomain] = {}
    for each in config.trust_domains:
        if each.name in found:
            raise MaterialError(f"the trust domain {each.name!r} is there twice")
        data = _bytes(each.trust_bundle, environ, f"the bundle of {each.name!r}")
        found[each.name] = TrustDomain(each.name, read_authorities(data).certificates)
    return tuple(found.values())


def read_bundles(data: bytes) -> tuple[TrustDomain, ...]:
    """The domains of a file of JSON.

    :raise MaterialError: it is no such file.
    """
    try:
        domains = json.loads(data)["trust_domains"].items()
        found = [TrustDomain(name, tuple(_certificates(keys))) for name, keys in domains]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise MaterialError("the trust bundles are no bundle map of SPIFFE in JSON") from None
    for each in found:
        if not each.authorities:
            raise MaterialError(f"the trust domain {each.name!r} has no certificate")
    return tuple(found)


def _certificates(domain: Mapping[str, Any]) -> list[bytes]:
    return [
        _der(text) for key in domain["keys"] if key.get("use") == "x509-svid" for text in key["x5c"]
    ]


def _der(text: str) -> bytes:
    try:
        der = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None
    pem = b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n" % base64.b64encode(der)
    return read_authorities(pem).certificates[0]


def _bytes(source: Any, environ: Mapping[str, str], what: str) -> bytes:
    found = source_bytes(source, environ)
    if found is None:
        raise MaterialError(f"{what} cannot be read")
    return found
