"""Tests of tcpmesh, room by room; `integration` has real sockets and processes."""

# Before a test imports a message of Envoy's: see tcpmesh.config.schema.
import tcpmesh  # noqa: F401
