"""tcpmesh: an L4 proxy that runs an unmodified Envoy bootstrap, as a Twisted plugin."""

from __future__ import annotations

from tcpmesh.config.schema.finder import install

__version__ = "0.1.0"

# Before anything of tcpmesh imports a message: one that is imported cannot get fields any more.
install()
