"""The names of static secrets: each kind has names of its own."""

from __future__ import annotations

from typing import Any

from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath


def _check_bootstrap(bootstrap: Any, field_path: FieldPath, report: Report) -> None:
    seen = set()
    here: FieldPath = ((field_path, "static_resources"), "secrets")
    for index, secret in enumerate(bootstrap.static_resources.secrets):
        kind = secret.WhichOneof("type")
        if kind is None:
            report.error(
                (here, index),
                f"the secret {secret.name!r} holds nothing",
                "set tls_certificate or validation_context",
            )
        elif (kind, secret.name) in seen:
            text = f"duplicate static secret {secret.name!r}: there is a {kind} of this name"
            report.error(((here, index), "name"), text)
        seen.add((kind, secret.name))


CHECKS = {"envoy.config.bootstrap.v3.Bootstrap": _check_bootstrap}
