"""Network filters that Envoy checks in code, and our own."""

from __future__ import annotations

from tcpmesh.config.checks.filters import client_limit, rbac, services

CHECKS = (client_limit.CHECKS, rbac.CHECKS, services.CHECKS)
