"""What a migration does beyond what the schema itself says: one module for each part of a
configuration.
"""

from __future__ import annotations

from functools import cache

from tcpmesh.config.migrate import bootstrap, clusters, extensions, listeners, routes
from tcpmesh.config.migrate.spot import Rules


@cache
def all_rules() -> Rules:
    """The rules of all modules, made once."""
    rules = Rules()
    for module in (routes, extensions, clusters, listeners, bootstrap):
        module.add_to(rules)
    return rules
