"""What Envoy demands of a configuration in code, beyond the rules of its schema.

Each check belongs to a message type and is called wherever such a message appears, also inside of
an `Any`.  It says in its own words what Envoy would refuse, at the line of the field at fault.  To
add one, write a function of `(message, field_path, report)` in the module of its subject and name
it in that module's `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tcpmesh.config.checks import (
    access_logs,
    balancing,
    bootstrap,
    clusters,
    dns,
    extensions,
    filters,
    formats,
    health,
    internal,
    limits,
    listeners,
    matching,
    overload,
    sources,
    statistics,
    strings,
    tls,
    unintended,
    upstreams,
)
from tcpmesh.config.fields import files
from tcpmesh.config.messages.report import Report
from tcpmesh.config.text.problems import FieldPath

Check = Callable[[Any, FieldPath, Report], None]


def _by_type(*tables: Mapping[str, Check]) -> dict[str, tuple[Check, ...]]:
    names = {name for table in tables for name in table}
    return {name: tuple(table[name] for table in tables if name in table) for name in names}


#: The checks of each message type, by its full name.
CHECKS = _by_type(
    access_logs.CHECKS,
    balancing.CHECKS,
    bootstrap.CHECKS,
    clusters.CHECKS,
    dns.CHECKS,
    extensions.CHECKS,
    files.CHECKS,
    *filters.CHECKS,
    formats.CHECKS,
    health.CHECKS,
    internal.CHECKS,
    limits.CHECKS,
    listeners.CHECKS,
    *matching.CHECKS,
    overload.CHECKS,
    sources.CHECKS,
    statistics.CHECKS,
    strings.CHECKS,
    tls.CHECKS,
    unintended.CHECKS,
    upstreams.CHECKS,
)
