"""Whether an input is an IP address of one of some networks."""

from __future__ import annotations

from typing import Any

from envoy.extensions.matching.input_matchers.ip.v3 import ip_pb2
from zope.interface import implementer

from tcpmesh.interfaces import IInputMatcher
from tcpmesh.listener.matching.networks import Networks, network_of
from tcpmesh.registry import Context, extension


@extension(ip_pb2.Ip)
@implementer(IInputMatcher)
class Ip:
    """What an `Ip` message says."""

    def __init__(self, message: Any, context: Context) -> None:
        self._networks = Networks((network_of(each), True) for each in message.cidr_ranges)

    def matches(self, text: str | None) -> bool:
        """Whether it is in one of them; what is no address is in none."""
        try:
            return bool(text) and self._networks.find(text or "") is not None
        except ValueError:
            return False
