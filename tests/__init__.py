"""Tests of tcpmesh, room by room; `integration` has real sockets and processes."""

import gc

from hypothesis import HealthCheck, settings

# Before a test imports a message of Envoy's: see tcpmesh.config.schema.
import tcpmesh  # noqa: F401

# How long an example takes says nothing where others use the machine too.
settings.register_profile("tcpmesh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tcpmesh")

# What all tests together import and hold is looked at rarely: a fifth of the time went into that.
gc.set_threshold(2_000, 10, 100)
