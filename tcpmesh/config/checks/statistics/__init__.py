"""Statistics: when they are flushed, where they are sent to, and which there are."""

from __future__ import annotations

from tcpmesh.config.checks.statistics import settings, sinks

CHECKS = {**sinks.CHECKS, **settings.CHECKS}
