"""All pages of the admin interface.  A new one is added to the `ENDPOINTS` of its module, a new
module to the list here.
"""

from __future__ import annotations

from tcpmesh.admin.endpoints import (
    client_limits,
    clusters,
    connections,
    control,
    dump,
    home,
    info,
    listeners,
    live,
    logging,
    profiling,
    reload,
    runtime,
    stats,
    steering,
)

ENDPOINTS = (
    *home.ENDPOINTS,
    *info.ENDPOINTS,
    *stats.ENDPOINTS,
    *clusters.ENDPOINTS,
    *listeners.ENDPOINTS,
    *connections.ENDPOINTS,
    *client_limits.ENDPOINTS,
    *live.ENDPOINTS,
    *dump.ENDPOINTS,
    *runtime.ENDPOINTS,
    *logging.ENDPOINTS,
    *profiling.ENDPOINTS,
    *control.ENDPOINTS,
    *reload.ENDPOINTS,
    *steering.ENDPOINTS,
)
