"""How a relay leaves one process and goes on in another: the connections of a client are not cut
where the program that relays them is replaced.

What the sockets are worth, the network takes from one and gives to the other
(`IMovesConnections`).  Here it is put together with what a relay knows: how much has passed, who
was paused for whom, and who has ended.
"""

from __future__ import annotations

from typing import Any

from tcpmesh.connection.relay import Direction, Relay
from tcpmesh.values.stream.moved import MovedDirection, MovedRelay
from tcpmesh.values.stream.phase import HALF_CLOSED, RELAYING
from tcpmesh.values.stream.relay_state import ENDED, OPEN


def can_leave(relay: Relay, network: Any) -> bool:
    """Whether a relay can go on elsewhere: bytes flow, nothing stands between it and the client,
    and the network (an `IMovesConnections`) has both connections as they are.
    """
    down, up = relay.from_downstream.source, relay.from_upstream.source
    return (
        relay.stream_info.phase in (RELAYING, HALF_CLOSED)
        and relay.read_source is down
        and network.can_leave(down)
        and network.can_leave(up)
    )


def leave(relay: Relay, network: Any) -> tuple[MovedRelay, tuple[int, int]]:
    """Take a relay that can go on elsewhere apart.  Its observer is told nothing any more.

    :return: what is to be known of it, and the descriptors of the client and of the host, which are
        the caller's.
    """
    found = []
    descriptors = []
    for direction in (relay.from_downstream, relay.from_upstream):
        descriptor, source = network.leave(direction.source)
        descriptors.append(descriptor)
        found.append(
            MovedDirection(
                source, direction.bytes, direction.pauses, direction.resumes, direction.full
            )
        )
    moved = MovedRelay(found[0], found[1], relay.quiet)
    relay.discard()
    return moved, (descriptors[0], descriptors[1])


def arrive(relay: Relay, upstream: Any, moved: MovedRelay) -> None:
    """Let a relay be what another one was.  It has the downstream only; both have arrived by
    `IMovesConnections.arrive`, and know their watermarks.
    """
    down, up = relay.from_downstream, relay.from_upstream
    down.sink = up.source = upstream
    _arrive(down, moved.from_downstream)
    _arrive(up, moved.from_upstream)
    relay.stream_info.phase = RELAYING
    if ENDED in (down.state, up.state):
        relay.stream_info.phase = HALF_CLOSED
    relay.bind(down.source, upstream)
    upstream.protocol = up
    relay.hear_again()
    for direction in (down, up):
        if not direction.full:
            direction.source.resumeProducing()
    relay.go_on_watching(moved.quiet)


def _arrive(direction: Direction, moved: MovedDirection) -> None:
    direction.bytes, direction.full = moved.bytes, moved.full
    direction.pauses, direction.resumes = moved.pauses, moved.resumes
    direction.state = ENDED if moved.source.has_ended else OPEN
