"""Every zope Interface of tcpmesh: what the rooms of the house expect of each other.

This is the one folder that all others may import, so it imports only values.  Where Twisted already
has an interface it is used as it is; what stands here is only what a proxy needs beyond it.
"""

from __future__ import annotations

from tcpmesh.interfaces.access_logs import (
    IAccessLogFile,
    IAccessLogFilter,
    IAccessLogger,
    IAccessLogManager,
    IMayWriteNothing,
    ISaysWhatItWants,
)
from tcpmesh.interfaces.clusters import (
    IBringsBalancer,
    ICluster,
    IDiscovery,
    IDnsResolver,
    IHttp1Upstream,
    IHttp2Upstream,
    ILoadBalancer,
    INameCaches,
    INamedHostsBalancer,
    INamedHostsDiscovery,
    INameTables,
    IPeekableBalancer,
)
from tcpmesh.interfaces.filters import (
    IByteFilter,
    IConnection,
    IDownstreamTransportSocketFactory,
    IFilterFactory,
    IInspector,
    IListenerFilter,
    ILogsConnections,
    IMovesClients,
    INetworkFilter,
    IPerClientTransportSocketFactory,
    IReadFilter,
    IReadyAtOnce,
    IReleasedFilter,
    IStoppableFilter,
    ITransportSocketFactory,
    IUpstreamTransportSocketFactory,
)
from tcpmesh.interfaces.matching import (
    IInputMatcher,
    IMatchInput,
    IPrincipal,
    IRequestIds,
)
from tcpmesh.interfaces.overload import (
    IResourceMonitor,
)
from tcpmesh.interfaces.server import (
    IBootstrapExtension,
    IReloads,
    IServer,
)
from tcpmesh.interfaces.statistics import (
    IStatsSink,
    IStatsSnapshot,
)
from tcpmesh.interfaces.transports import (
    IAdopts,
    IBufferedProtocol,
    ICountsAccepts,
    IHandsOver,
    IMovesConnections,
    INetwork,
    IPausable,
    IStraight,
    IStreamTransport,
)

__all__ = [
    "IAccessLogFile",
    "IAccessLogFilter",
    "IAccessLogManager",
    "IAccessLogger",
    "IAdopts",
    "IBootstrapExtension",
    "IBringsBalancer",
    "IBufferedProtocol",
    "IByteFilter",
    "ICluster",
    "IConnection",
    "ICountsAccepts",
    "IDiscovery",
    "IDnsResolver",
    "IDownstreamTransportSocketFactory",
    "IFilterFactory",
    "IHandsOver",
    "IHttp1Upstream",
    "IHttp2Upstream",
    "IInputMatcher",
    "IInspector",
    "IListenerFilter",
    "ILoadBalancer",
    "ILogsConnections",
    "IMatchInput",
    "IMayWriteNothing",
    "IMovesClients",
    "IMovesConnections",
    "INameCaches",
    "INameTables",
    "INamedHostsBalancer",
    "INamedHostsDiscovery",
    "INetwork",
    "INetworkFilter",
    "IPausable",
    "IPeekableBalancer",
    "IPerClientTransportSocketFactory",
    "IPrincipal",
    "IReadFilter",
    "IReadyAtOnce",
    "IReleasedFilter",
    "IReloads",
    "IRequestIds",
    "IResourceMonitor",
    "ISaysWhatItWants",
    "IServer",
    "IStatsSink",
    "IStatsSnapshot",
    "IStoppableFilter",
    "IStraight",
    "IStreamTransport",
    "ITransportSocketFactory",
    "IUpstreamTransportSocketFactory",
]
