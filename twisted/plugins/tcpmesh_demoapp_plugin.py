"""Tells twistd about the demo backend, `twistd tcpmesh-demoapp`; the module it names is imported
only when asked for.
"""

from twisted.application.service import ServiceMaker

tcpmesh_demoapp = ServiceMaker(
    "tcpmesh-demoapp",
    "tcpmesh.demoapp",
    "The demo web server of the tcpmesh tutorial.",
    "tcpmesh-demoapp",
)
