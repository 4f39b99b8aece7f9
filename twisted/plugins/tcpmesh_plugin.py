"""Makes `twistd tcpmesh` known."""

from twisted.application.service import ServiceMaker

serviceMaker = ServiceMaker(
    "tcpmesh", "tcpmesh.tap", "An L4 proxy that runs an unmodified Envoy bootstrap.", "tcpmesh"
)
