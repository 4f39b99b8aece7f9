"""What a connection to a listener in this process tells it of where it comes from: a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tcpmesh.values.stream.filter_state import NO_FILTER_STATE, FilterState


@dataclass(frozen=True)
class Passthrough:
    """See the module's text."""

    hops: int = 0
    """Through how many listeners of this process the client has come by then."""

    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Dynamic metadata by its names, as plain values."""

    filter_state: FilterState = NO_FILTER_STATE
    """The objects that it shares."""


NOTHING_PASSED = Passthrough()
"""Where nothing is told."""
