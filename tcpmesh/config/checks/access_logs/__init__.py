"""Access logs that are no files: what goes to collectors, and what becomes statistics."""

from __future__ import annotations

from tcpmesh.config.checks.access_logs import collectors, stats

CHECKS = {**collectors.CHECKS, **stats.CHECKS}
