"""tcpmesh: an L4 proxy that runs an unmodified Envoy bootstrap, as a Twisted plugin."""

from __future__ import annotations

__version__ = "0.1.0"
