"""What filter chains are chosen by, as the listener filters have left it in a `StreamInfo`."""

from __future__ import annotations

import socket

from tcpmesh.values.address import Address
from tcpmesh.values.stream.stream_info import StreamInfo

RAW_BUFFER = "raw_buffer"

LOOPBACK = frozenset(("127.0.0.1", "::1"))

NO_IP_ADDRESS = Address("255.255.255.255")
"""What stands for the address of a unix socket where networks are asked for, as in Envoy: it
belongs to those of all addresses.
"""


def ip_address(address: Address) -> Address:
    """An address as networks are matched with it."""
    return address if address.is_ip else NO_IP_ADDRESS


def is_local(info: StreamInfo) -> bool:
    """Whether a client is on this machine for all that addresses tell (SAME_IP_OR_LOOPBACK): as in
    Envoy of all addresses of the loopback interface only the first one counts.
    """
    remote = info.remote_address
    if remote.family == socket.AF_UNIX or remote.host in LOOPBACK:
        return True
    return remote.host == info.local_address.host


def transport_protocol(info: StreamInfo) -> str:
    """What the client speaks, as far as a listener filter has found that out."""
    return info.hello.transport_protocol or RAW_BUFFER
