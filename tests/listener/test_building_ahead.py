"""Listeners of thousands of filter chains, which are built beside the traffic."""

from __future__ import annotations

from itertools import count
from typing import Any, cast

from twisted.internet.defer import Deferred

from tcpmesh.listener.filter_chain import ChainFilters
from tcpmesh.listener.updates import MANY, PART, in_parts
from tcpmesh.net.cooperator import AT_ONCE, SLICE, shared_cooperator
from tcpmesh.registry import UnknownExtension
from tests.listener.test_filter_chains import ChainTestCase, listener_of, proxied, says
from tests.turns import turn

ORIGINAL_DST = "use_original_dst: true\n"
OTHER = "127.0.0.9:9"
COUNT = MANY + 1


def many(prefix: str = "n", size: int = COUNT) -> list[str]:
    """Different chains, each for a port of its own."""
    return [says(f"{prefix}{i}", f"destination_port: {i + 101}") for i in range(size)]


class AheadTests(ChainTestCase):
    """A proxy that serves one listener, and gets another one, or other chains."""

    def setUp(self) -> None:
        """It serves."""
        super().setUp()
        clock, slices = cast(Any, self.mesh.clock), count(step=SLICE)
        # However fast a machine is, each step takes up the slice of its turn.
        self.mesh.network.cooperator = shared_cooperator(clock, slices.__next__)
        self.built: list[Any] = []
        built, make = self.built, ChainFilters.__init__

        def noted(filters: ChainFilters, *arguments: Any) -> None:
            built.append(filters)
            make(filters, *arguments)

        self.patch(ChainFilters, "__init__", noted)
        self.serve(says("first"), more=ORIGINAL_DST)
        self.built.clear()

    def prepare(self, message: Any, always: bool = False) -> Deferred[Any]:
        """Have it made ready."""
        steps = self.mesh.listeners.prepare(message, always=always)
        return self.mesh.network.cooperator.coiterate(steps)

    def other(self, *chains: str) -> Any:
        """Another listener of these chains."""
        message = listener_of(*chains, address=OTHER, more=ORIGINAL_DST)
        message.name = "other"
        return message

    def names(self) -> set[str]:
        """The statistics of the other listener."""
        return {name for name in self.mesh.stats() if OTHER.replace(":", "_") in name}

    def until_some_are_built(self) -> None:
        """So many turns."""
        for _ in range(9):
            if not self.built:
                turn(self.mesh.clock)
        self.assertTrue(self.built)

    def closed(self) -> int:
        """How many of those that were built are given back."""
        return sum(not each._holders for each in self.built)

    def test_new(self) -> None:
        """A new listener of many chains is built in more than one turn, in which others are served;
        adding it builds nothing more.
        """
        message = self.other(*many())
        ready = self.prepare(message)
        self.until_some_are_built()
        self.assertFalse(ready.called)
        self.assertEqual("first", self.told())
        self.mesh.pump()
        self.assertTrue(ready.called)
        self.assertEqual(COUNT, len(self.built))
        self.assertTrue(self.mesh.listeners.add_or_update(message))
        self.assertEqual((COUNT, 0), (len(self.built), self.closed()))
        self.mesh.pump()
        self.assertEqual(
            ["n0", "n9"], [self.told_at(f"127.0.0.1:{port}", OTHER) for port in (101, 110)]
        )

    def told_at(self, wanted: str, address: str) -> str:
        """As `told`, at the other listener."""
        return str(self.mesh.redirect(wanted, address).received.decode())

    def test_update(self) -> None:
        """So are many chains that an update brings, and that it leaves alone is not built anew."""
        message = listener_of(says("first"), *many(), more=ORIGINAL_DST)
        self.prepare(message)
        self.mesh.pump()
        self.assertEqual(COUNT, len(self.built))
        self.mesh.listeners.add_or_update(message)
        self.assertEqual((COUNT, 0), (len(self.built), self.closed()))
        self.assertEqual(["n0", "first"], [self.told(f"127.0.0.1:{port}") for port in (101, 9999)])

    def test_replaced(self) -> None:
        """A listener that replaces another one is built ahead, too, though its chains are equal."""
        self.mesh.listeners.add_or_update(self.other(*many()))
        self.built.clear()
        message = self.other(*many())
        message.address.socket_address.port_value = 10
        self.prepare(message)
        self.mesh.pump()
        self.assertEqual(COUNT, len(self.built))
        self.mesh.listeners.add_or_update(message)
        self.assertEqual((COUNT, 0), (len(self.built), self.closed()))
        self.assertEqual("n0", self.told_at("127.0.0.1:101", "127.0.0.9:10"))

    def test_few(self) -> None:
        """Few chains are built when they are added, and so are those that are there already."""
        for message in (self.other(*many(size=MANY)), listener_of(says("first"), more="")):
            self.prepare(message)
            self.mesh.pump()
        self.mesh.listeners.add_or_update(listener_of(*many(), more=ORIGINAL_DST))
        built = len(self.built)
        self.prepare(listener_of(*many(), more=ORIGINAL_DST))
        self.mesh.pump()
        self.assertEqual((COUNT, COUNT), (built, len(self.built)))

    def test_no_name(self) -> None:
        """A listener without a name gets one when it is added, and so it is built then."""
        message = self.other(*many())
        message.name = ""
        self.prepare(message)
        self.mesh.pump()
        self.assertEqual([], self.built)
        self.mesh.listeners.add_or_update(message)
        self.assertEqual("n0", self.told_at("127.0.0.1:101", OTHER))

    def test_two_at_once(self) -> None:
        """Of two updates of a listener that are made ready at once the first waits no more, and is
        built when it is applied.
        """
        messages = [listener_of(*many(prefix), more=ORIGINAL_DST) for prefix in ("m", "n")]
        ready = [self.prepare(each) for each in messages]
        self.mesh.pump()
        self.assertEqual([True, True], [each.called for each in ready])
        for message, name in zip(messages, ("m0", "n0"), strict=True):
            self.mesh.listeners.add_or_update(message)
            self.assertEqual(name, self.told("127.0.0.1:101"))
        self.mesh.pump()
        self.assertEqual(len(self.built) - COUNT, self.closed())

    def test_not_wanted(self) -> None:
        """Of what was built and is not added nothing is left once something else is made ready."""
        self.prepare(self.other(*many()))
        self.mesh.pump()
        self.assertTrue(self.names())
        self.prepare(self.other(*many("m")))
        self.mesh.pump()
        self.assertEqual((2 * COUNT, COUNT), (len(self.built), self.closed()))
        self.prepare(listener_of(says("first"), *many(), more=ORIGINAL_DST))
        self.mesh.pump()
        self.assertEqual((2 * COUNT, set()), (self.closed(), self.names()))

    def test_chains_not_wanted(self) -> None:
        """Of chains that an update does not bring after all nothing is left."""
        self.prepare(listener_of(says("first"), *many(), more=ORIGINAL_DST))
        self.mesh.pump()
        self.mesh.listeners.add_or_update(listener_of(*many("m", 2), more=ORIGINAL_DST))
        self.assertEqual(COUNT, self.closed())
        self.assertEqual("m0", self.told("127.0.0.1:101"))

    def test_removed_meanwhile(self) -> None:
        """A listener that is removed while its chains are built leaves nothing."""
        message = listener_of(says("first"), *many(), more=ORIGINAL_DST)
        self.prepare(message)
        self.until_some_are_built()
        self.mesh.listeners.remove("l")
        self.mesh.pump()
        self.assertEqual(len(self.built), self.closed())
        self.assertTrue(self.mesh.listeners.add_or_update(message))

    def test_refused(self) -> None:
        """What cannot be built is refused when it is added, and nothing of it is left."""
        message = self.other(*many())
        message.filter_chains[-1].filters[0].typed_config.type_url = "type.googleapis.com/x.Y"
        ready = self.prepare(message)
        self.mesh.pump()
        self.assertTrue(ready.called)
        self.assertEqual((len(self.built), set()), (self.closed(), self.names()))
        self.assertRaises(UnknownExtension, self.mesh.listeners.add_or_update, message)
        self.assertEqual((len(self.built), set()), (self.closed(), self.names()))

    def test_the_end(self) -> None:
        """Where the proxy ends meanwhile nothing is left, and nobody waits."""
        ready = self.prepare(self.other(*many()))
        self.until_some_are_built()
        self.mesh.listeners.stop()
        self.mesh.pump()
        self.assertTrue(ready.called)
        self.assertEqual(len(self.built), self.closed())


class PartsTests(ChainTestCase):
    """`in_parts`."""

    def test_all(self) -> None:
        """The parts of a listener have its chains, each once, and the first the default one."""
        message = listener_of(*many(size=2 * PART + 1), default=says("rest"))
        parts = list(in_parts(message))
        self.assertEqual([PART, PART, 1], [len(each.filter_chains) for each in parts])
        self.assertEqual(
            [each.name for each in message.filter_chains],
            [chain.name for each in parts for chain in each.filter_chains],
        )
        self.assertEqual(
            [True, False, False], [each.HasField("default_filter_chain") for each in parts]
        )

    def test_some(self) -> None:
        """Where some chains matter the parts have these alone."""
        message = listener_of(*many(size=2 * PART + 1))
        places = range(0, 2 * PART, 1)
        parts = list(in_parts(message, tuple(places)))
        self.assertEqual([PART, PART], [len(each.filter_chains) for each in parts])

    def test_as_it_is(self) -> None:
        """Few chains are one part."""
        message = listener_of(*many(size=PART), default=says("rest"))
        self.assertEqual([message], list(in_parts(message)))


class ManyTests(ChainTestCase):
    """A tcp_proxy in each chain."""

    def setUp(self) -> None:
        super().setUp()
        self.mesh.add_cluster("c", "127.0.0.2:80")
        self.mesh.upstream("127.0.0.2:80")
        self.serve(says("first"), more=ORIGINAL_DST)

    def many(self) -> Any:
        """The listener with many of these chains."""
        chains = [
            proxied(f"n{i}", f"destination_port: {i + 101}", fields=f"idle_timeout: {i + 1}s,")
            for i in range(COUNT)
        ]
        return listener_of(*chains, more=ORIGINAL_DST)

    def test_leave(self) -> None:
        """Of many chains that an update does not have any more some are closed in each turn; where
        the last client of one leaves before its turn, nothing is left of it either.
        """
        self.mesh.listeners.add_or_update(self.many())
        clients = [self.mesh.redirect(f"127.0.0.1:{i + 101}") for i in range(COUNT)]
        (listener,) = self.mesh.worker.listeners._listeners.values()
        chains = list(listener.chains)
        self.mesh.listeners.add_or_update(listener_of(says("first"), more=ORIGINAL_DST))
        self.assertEqual(AT_ONCE, sum(each.is_closed for each in chains))
        self.assertEqual(COUNT + 1, len(list(listener.chains)))
        for client in clients:
            client.transport.abortConnection()
        self.mesh.pump()
        self.assertTrue(all(each.is_closed for each in chains))
        self.assertEqual(["first"], [each.info.filter_chain_name for each in listener.chains])
        self.assertEqual({}, self.mesh.stats("tcp.t."))

    def test_clients(self) -> None:
        """Clients of chains that were built ahead are served as others, and leave nothing."""
        message = self.many()
        self.mesh.network.cooperator.coiterate(self.mesh.listeners.prepare(message))
        self.mesh.pump()
        self.mesh.listeners.add_or_update(message)
        client = self.mesh.redirect("127.0.0.1:102")
        self.assertEqual((False, 1), (client.ended, self.mesh.stat("tcp.t.downstream_cx_total")))
        self.mesh.listeners.remove("l")
        client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual({}, self.mesh.stats("tcp.t."))
