"""Network filters, one module for each that Envoy checks in code."""

from __future__ import annotations

from tcpmesh.config.checks.filters import rbac

CHECKS = (rbac.CHECKS,)
