"""Network filters that Envoy checks in code."""

from __future__ import annotations

from tcpmesh.config.checks.filters import rbac, services

CHECKS = (rbac.CHECKS, services.CHECKS)
