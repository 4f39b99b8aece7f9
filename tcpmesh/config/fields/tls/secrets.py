"""Static secrets (`static_resources.secrets`): each kind has names of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Secrets: TypeAlias = Mapping[tuple[str, str], Any]
"""The contents of secrets by kind, as `tls_certificate`, and name."""


def static_secrets(messages: Iterable[Any]) -> dict[tuple[str, str], Any]:
    """What is in `tls.v3.Secret` messages."""
    found = ((each.WhichOneof("type") or "", each) for each in messages)
    return {(kind, each.name): getattr(each, kind) for kind, each in found if kind}
