"""What tcpmesh does with each field that Envoy knows: the one place that says so.

Envoy's schema is far larger than what tcpmesh acts on, and a field that is read and then forgotten
is worse than an error: a limit that limits nothing, an access list that lets everybody in.  So
every message type in reach of the fields below has a row for each field that may be set.  What has
no row is refused, with its line, in the words "tcpmesh does not support it yet".

To support a field, give it a row in the file for its part of a configuration in the
change that reads it;
`docs/supported.md` is generated from these rows.

- `YES`: the field works as in Envoy.
- `only(...)`: these values work, as in Envoy; others are refused.
- `default_only(reason)`: may be written, but says nothing beyond the default: the rows of its own
  message type see to that.
- `refused(reason)`: an error as a field without a row is, which says why.
- `no_effect(reason)`: accepted, and nothing happens, because nothing would for TCP in Envoy, or
  nothing that a connection notices.
"""

from __future__ import annotations

from collections.abc import Mapping

from tcpmesh.config.support import (
    bootstrap,
    clusters,
    collectors,
    extensions,
    filters,
    grpc,
    health,
    listeners,
    logs,
    policies,
    tls,
)
from tcpmesh.config.support.rows import Rows, Support

__all__ = ["EXTENSIONS", "TABLE", "Rows", "Support", "as_written"]

#: What an `@type` may name: each extension with its fields.
EXTENSIONS: Mapping[str, Rows] = {
    **filters.EXTENSIONS,
    **policies.EXTENSIONS,
    **extensions.EXTENSIONS,
    **logs.EXTENSIONS,
    **collectors.EXTENSIONS,
    **listeners.EXTENSIONS,
    **tls.EXTENSIONS,
}

#: Every message type that may be set, with its fields.
TABLE: Mapping[str, Rows] = {
    **bootstrap.BOOTSTRAP,
    **bootstrap.CORE,
    **bootstrap.OVERLOAD,
    **listeners.LISTENER,
    **clusters.CLUSTER,
    **health.HEALTH,
    **logs.LOGS,
    **logs.FILTERS,
    **grpc.GRPC,
    **EXTENSIONS,
    **policies.PARTS,
    **filters.PARTS,
    **extensions.PARTS,
    **collectors.PARTS,
    **listeners.PARTS,
    **tls.PARTS,
}


def as_written(value: object) -> str:
    """A value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
