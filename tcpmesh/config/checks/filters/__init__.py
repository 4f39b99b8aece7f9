"""Network filters that Envoy checks in code."""

from __future__ import annotations

from tcpmesh.config.checks.filters import names, rbac, services

CHECKS = (names.CHECKS, rbac.CHECKS, services.CHECKS)
