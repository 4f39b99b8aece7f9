"""The explorer finds every flaw that few events can bring about, and finds none in the proxy.

`make explore` goes deeper than the suite does: `TCPMESH_DEPTH` is how many events are played.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.connection.relay import Direction
from tcpmesh.testing.explorer import Event, Explored, ProxyGame, explore
from tcpmesh.testing.mesh import Mesh
from tcpmesh.testing.phases import check_phases
from tcpmesh.testing.wrappers import make_ready, waiting
from tcpmesh.values.address import Address
from tcpmesh.values.stream.relay_state import SourceState
from tests import transport_sockets
from tests.transport_sockets import socket_yaml

DEPTH = int(os.environ.get("TCPMESH_DEPTH", "6"))

BOOTSTRAP = """
static_resources:
  listeners:
  - name: l
    address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}
    per_connection_buffer_limit_bytes: 12
    filter_chains:
    - filters: {filters}
  clusters:
  - name: c
    connect_timeout: 1s
    per_connection_buffer_limit_bytes: 12
    {cluster}
    load_assignment:
      cluster_name: c
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.2, port_value: 80}}}}}}
"""

EXTENSIONS = "type.googleapis.com/envoy.extensions"

LIMIT = (
    f'{{name: limit, typed_config: {{"@type": {EXTENSIONS}.filters.network.connection_limit.v3'
    ".ConnectionLimit, stat_prefix: limit, max_connections: 10}}, "
)

AHEAD = "preconnect_policy: {per_upstream_preconnect_ratio: 2}"


def bootstrap(proxy: str = "", before: str = "", cluster: str = "{}") -> str:
    """A listener with a tcp_proxy and these fields of it, filters before it, and fields of c."""
    cluster = "" if cluster == "{}" else cluster
    fields = f"stat_prefix: t, cluster: c, idle_timeout: 10s{', ' if proxy else ''}{proxy}"
    kind = f"{EXTENSIONS}.filters.network.tcp_proxy.v3.TcpProxy"
    last = f'{{name: tcp, typed_config: {{"@type": {kind}, {fields}}}}}'
    return BOOTSTRAP.format(filters=f"[{before}{last}]", cluster=cluster)


class Steps:
    """A toy: two players take steps on a line, and three steps of one in a row are a flaw."""

    def begin(self) -> None:
        """Nobody has taken a step."""
        self.taken = ""

    def events(self) -> Iterable[Event]:
        """Either may."""
        return (Event("a"), Event("b"))

    def play(self, event: Event) -> None:
        """One does."""
        self.taken += event.name

    def state(self) -> Hashable:
        """What matters is who took the last ones."""
        last = self.taken[-1:]
        return (last, len(self.taken) - len(self.taken.rstrip(last)) if last else 0)

    def finish(self) -> str:
        """Whether somebody took three."""
        return "three in a row" if self.taken.endswith(("aaa", "bbb")) else ""

    def abandon(self) -> None:
        """There is nothing to leave."""


class ExploreTests(SynchronousTestCase):
    """How sequences are gone through."""

    def test_shortest_first(self) -> None:
        """The flaw that is told is one of the shortest."""
        found = explore(Steps(), 9, most_flaws=2)

        self.assertEqual(
            ["three in a row, after: a; a; a", "three in a row, after: b; b; b"],
            [str(flaw) for flaw in found.flaws],
        )

    def test_alike(self) -> None:
        """From moments that are alike only one is played on: nine states, not a thousand."""
        found = explore(Steps(), 4, most_flaws=99)

        self.assertEqual(9, found.states)
        self.assertEqual(1 + 2 * found.states - 2 * 2, found.sequences)

    def test_depth(self) -> None:
        """No sequence is longer than it may be."""
        self.assertEqual((), explore(Steps(), 2).flaws)


class BrokenTests(SynchronousTestCase):
    """Faults that relays have had somewhere are found, in a few events."""

    def assert_found(self, what: str, depth: int) -> None:
        """The explorer finds a flaw of this kind in a sequence of at most `depth` events."""
        found = explore(ProxyGame(bootstrap()), depth, most_flaws=1)

        self.assertIn(what, "\n".join(str(flaw) for flaw in found.flaws))

    def test_never_resumed(self) -> None:
        """A source that is paused for a full sink and never read again gets stuck."""
        self.patch(Direction, "resumeProducing", lambda self: None)

        self.assert_found("stuck", 2)

    def test_end_is_lost(self) -> None:
        """An end of stream that is not passed on leaves the other side waiting."""

        def forget(direction: Direction) -> None:
            direction.state = SourceState.ENDED

        self.patch(Direction, "readConnectionLost", forget)

        self.assert_found("stuck", 1)

    def test_byte_is_lost(self) -> None:
        """Bytes that are dropped are missed."""

        def drop(direction: Direction, data: memoryview) -> None:
            direction.sink.write(bytes(data)[1:])

        self.patch(Direction, "bufferReceived", drop)

        self.assert_found("got bytes that were not sent", 1)

    def test_byte_is_doubled(self) -> None:
        """Bytes that come twice are seen."""

        def double(direction: Direction, data: memoryview) -> None:
            direction.sink.write(bytes(data) * 2)

        self.patch(Direction, "bufferReceived", double)

        self.assert_found("got bytes that were not sent", 1)

    def test_count_is_lost(self) -> None:
        """A connection whose end is not counted is still there in the gauges."""
        from tcpmesh.listener.stats import ListenerStats

        self.patch(ListenerStats, "closed", lambda self, milliseconds: None)

        self.assert_found("gauges are not back", 0)


class Exploration:
    """All orders of events of one kind of proxy."""

    depth = DEPTH
    """Of events; one less where another class explores nearly the same."""

    def explored(self, game: ProxyGame) -> Explored:
        """What was found in all sequences of `depth` events."""
        check_phases(self)
        found = explore(game, self.depth)
        self.assertEqual([], [str(flaw) for flaw in found.flaws])  # type: ignore[attr-defined]
        # A game in which nothing can happen would have no flaw either.
        self.assertGreater(found.states, 10 * self.depth)  # type: ignore[attr-defined]
        return found


class PlainTests(Exploration, SynchronousTestCase):
    """A tcp_proxy alone in its chain."""

    def test_every_order(self) -> None:
        """Nobody is stuck, no byte lost or doubled, and nothing is left behind."""
        self.explored(ProxyGame(bootstrap()))


class EarlyDataTests(Exploration, SynchronousTestCase):
    """A tcp_proxy that reads its client before the upstream is connected."""

    depth = DEPTH - 1

    def test_every_order(self) -> None:
        """Nobody is stuck, no byte lost or doubled, and nothing is left behind."""
        self.explored(ProxyGame(bootstrap("max_early_data_bytes: 10")))


class OnDataTests(Exploration, SynchronousTestCase):
    """A tcp_proxy that connects when its client has said something."""

    def test_every_order(self) -> None:
        """Nobody is stuck, no byte lost or doubled, and nothing is left behind."""
        fields = "max_early_data_bytes: 10, upstream_connect_mode: ON_DOWNSTREAM_DATA"
        self.explored(ProxyGame(bootstrap(fields)))


class DurationTests(Exploration, SynchronousTestCase):
    """A tcp_proxy with a limit to how long a connection lives."""

    depth = DEPTH - 1

    def test_every_order(self) -> None:
        """Nobody is stuck, no byte lost or doubled, and nothing is left behind."""
        self.explored(ProxyGame(bootstrap("max_downstream_connection_duration: 5s")))


class ReadFilterTests(Exploration, SynchronousTestCase):
    """A chain with a filter before the tcp_proxy."""

    depth = DEPTH - 1

    def test_every_order(self) -> None:
        """Nobody is stuck, no byte lost or doubled, and nothing is left behind."""
        self.explored(ProxyGame(bootstrap(before=LIMIT)))


class WrapperTests(Exploration, SynchronousTestCase):
    """Transport sockets on both sides of the proxy, of which each becomes ready at any moment."""

    depth = DEPTH - 2

    def test_every_order(self) -> None:
        """Nobody is stuck, no byte lost or doubled, and nothing is left behind."""
        transport_sockets.install(self)
        for chain, cluster in (("waiting", ""), ("", "waiting"), ("delaying", "delaying")):
            waiting.clear()
            text = bootstrap(cluster=socket_yaml(cluster) if cluster else "{}")
            if chain:
                text = text.replace("- filters:", f"- {socket_yaml(chain)}\n      filters:")
            extra = {"ready": lambda mesh: make_ready()}
            game = ProxyGame(text, extra=extra, at_end=lambda mesh: make_ready())
            self.explored(game)


class TroubleTests(Exploration, SynchronousTestCase):
    """An upstream that begins to refuse, or no longer answers, at any moment."""

    depth = DEPTH - 1

    def test_every_order(self) -> None:
        """Nobody is stuck, no byte lost or doubled, and nothing is left behind."""
        upstream = Address("127.0.0.2", 80)

        def refuse(mesh: Mesh) -> None:
            mesh.network.refused.add(upstream)

        def say_nothing(mesh: Mesh) -> None:
            mesh.network.silent.add(upstream)

        fields = "max_connect_attempts: 2, max_early_data_bytes: 10"
        extra = {"refuse": refuse, "silence": say_nothing}
        self.explored(ProxyGame(bootstrap(fields), extra=extra))
