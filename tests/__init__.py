"""Tests of tcpmesh, room by room; `integration` has real sockets and processes."""

from hypothesis import HealthCheck, settings

# Before a test imports a message of Envoy's: see tcpmesh.config.schema.
import tcpmesh  # noqa: F401

# How long an example takes says nothing where others use the machine too.
settings.register_profile("tcpmesh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tcpmesh")
