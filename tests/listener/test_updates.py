"""Updates of a listener that change its filter chains alone."""

from __future__ import annotations

from typing import Any

from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from hypothesis import given
from hypothesis import strategies as st

from tcpmesh.listener import filter_chains, updates
from tcpmesh.listener import manager as manager_module
from tcpmesh.listener.matching.tree import MatchingTree
from tcpmesh.listener.updates import changes_only_chains, difference, left_out
from tcpmesh.net.cooperator import AT_ONCE
from tcpmesh.registry import UnknownExtension
from tests.listener.test_filter_chains import (
    ChainTestCase,
    file_log,
    listener_of,
    matcher_of,
    proxied,
    says,
)
from tests.mesh import FRONT, MeshTestCase
from tests.turns import turn

HOST = "127.0.0.2:80"
ONE = proxied("one", "destination_port: 1")
TWO = proxied("two", "destination_port: 2")
ORIGINAL_DST = "use_original_dst: true\n"
DRAIN = 600


class InPlaceTests(ChainTestCase):
    """A listener that serves meanwhile."""

    def setUp(self) -> None:
        """Two chains, each with a client."""
        super().setUp()
        self.mesh.add_cluster("c", HOST)
        self.mesh.upstream(HOST)
        self.more = ORIGINAL_DST + file_log(
            "/log", "%FILTER_CHAIN_NAME% %DOWNSTREAM_LOCAL_CLOSE_REASON%"
        )
        self.serve(ONE, TWO, more=self.more)
        self.one, self.two = (self.mesh.redirect(f"127.0.0.1:{port}") for port in (1, 2))

    def update(self, *chains: str, **fields: Any) -> None:
        """The listener has these chains now."""
        message = listener_of(*chains, **{"more": self.more, **fields})
        self.mesh.listeners.add_or_update(message)
        self.mesh.pump()

    def count_calls(self, kind: type, name: str) -> list[int]:
        """Grows with each call of a method."""
        method, calls = getattr(kind, name), list[int]()

        def counted(*arguments: Any) -> Any:
            calls.append(1)
            return method(*arguments)

        self.patch(kind, name, counted)
        return calls

    def manager(self) -> dict[str, int]:
        """What the manager has counted."""
        return self.mesh.moved("listener_manager.")

    def test_added(self) -> None:
        """A new chain serves at once, and nobody who is connected notices."""
        ports = [each.bound for each in self.listener().listen_sockets]
        self.update(ONE, TWO, says("three", "destination_port: 3"), default=says("rest"))
        self.assertEqual(["three", "rest"], [self.told(f"127.0.0.1:{port}") for port in (3, 4)])
        self.mesh.advance(DRAIN + 1)
        self.assertEqual([False, False], [self.one.ended, self.two.ended])
        self.assertEqual(ports, [each.bound for each in self.listener().listen_sockets])
        self.assertEqual(
            {
                "listener_added": 1,
                "listener_create_success": 2,
                "listener_in_place_updated": 1,
                "listener_modified": 1,
                "total_listeners_active": 1,
                "workers_started": 1,
            },
            self.manager(),
        )

    def listener(self) -> Any:
        """The worker's."""
        (listener,) = self.mesh.worker.listeners._listeners.values()
        return listener

    def test_removed(self) -> None:
        """The clients of a chain that is no more are served on, until the drain time is over; those
        of the others stay.
        """
        before = self.listener()
        self.update(ONE)
        self.assertIs(before, self.listener())
        self.assertEqual("nothing", self.told("127.0.0.1:2"))
        self.assertEqual(1, self.manager()["total_filter_chains_draining"])
        self.two.transport.write(b"x")
        self.mesh.advance(DRAIN - 1)
        self.assertFalse(self.two.ended)
        self.mesh.advance(1)
        self.assertEqual((False, True), (self.one.ended, self.two.ended))
        self.assertNotIn("total_filter_chains_draining", self.manager())
        self.assertEqual(["- -", "two filter_chain_is_being_removed"], self.mesh.logged("/log"))
        self.assertEqual(1, self.mesh.stat("listener.127.0.0.1_1.downstream_cx_active"))

    def test_removed_with_many_clients(self) -> None:
        """Hundreds of clients of a chain that is no more are all closed, some in each turn."""
        clients = [self.mesh.redirect("127.0.0.1:2") for _ in range(5 * AT_ONCE)]
        self.update(ONE)
        self.mesh.network.clock.rightNow += DRAIN
        turn(self.mesh.network.clock)
        _, left_out = sorted(self.listener()._chains, key=lambda each: each.info.filter_chain_name)
        reasons = [each.stream_info.local_close_reason for each in left_out.connections]
        self.assertEqual((161, AT_ONCE), (len(reasons), sum(map(bool, reasons))))
        self.mesh.advance(0)
        self.assertTrue(all(each.ended for each in (self.two, *clients)))

    def test_left_meanwhile(self) -> None:
        """Of a client that leaves by itself while others are closed, the log says no more than
        that.
        """
        self.mesh.redirect("127.0.0.1:2")
        _, two = sorted(self.listener()._chains, key=lambda each: each.info.filter_chain_name)
        steps = two.expire()
        next(steps)
        self.mesh.pump()
        (left,) = two.connections
        left.transport.loseConnection()
        self.mesh.pump()
        self.assertEqual([], list(steps))
        self.assertEqual("two -", self.mesh.logged("/log")[-1])

    def test_changed(self) -> None:
        """A chain that has changed in any way is another one."""
        self.update(ONE, TWO.replace("name: two", "name: new"))
        self.mesh.advance(DRAIN)
        self.assertEqual((False, True), (self.one.ended, self.two.ended))

    def test_one_of_many(self) -> None:
        """Where one of a thousand chains changes, that one is built, and no other is touched or
        looked at.
        """
        chains = [says(f"c{port}", f"destination_port: {port}") for port in range(10, 1000)]
        self.update(ONE, *chains)
        before = set(self.listener()._chains)
        chains[500] = says("new", "destination_port: 510")
        digest, digested = filter_chains.digest, list[str]()

        def noted(message: Any) -> bytes:
            digested.append(message.name)
            return digest(message)

        self.patch(filter_chains, "digest", noted)
        self.update(ONE, *chains)
        self.assertEqual(["c510", "new", ""], digested)  # the last is what it may share
        self.assertEqual(2, len(before.symmetric_difference(self.listener()._chains)))
        self.assertEqual("new", self.told("127.0.0.1:510"))
        self.assertEqual("c511", self.told("127.0.0.1:511"))

    def test_default_chain_of_others(self) -> None:
        """A default chain that is one of the others too is no reason to lose either."""
        both = says("both", "destination_port: 7")
        for chains, default in (
            ((ONE, both), both),
            ((ONE,), both),
            ((ONE, both), ""),
            ((ONE,), ""),
        ):
            self.update(*chains, default=default)
            self.assertEqual(
                "both" if both in chains else "both" if default else "nothing",
                self.told("127.0.0.1:7"),
            )
            self.assertEqual("both" if default else "nothing", self.told("127.0.0.1:9"))

    def test_with_and_without_a_matcher(self) -> None:
        """A matcher may come to choose among the chains, and go again."""
        matcher = "filter_chain_matcher: {}"
        for more, told in ((matcher, "nothing"), ("", "a"), (matcher, "nothing"), ("", "a")):
            self.update(ONE, says("a", "destination_port: 5"), more=f"{self.more}\n{more}")
            self.assertEqual(told, self.told("127.0.0.1:5"))

    def test_chosen_by_name(self) -> None:
        """Where a matcher chooses, a chain may change, come and go, with the matcher or without;
        where the matcher stays as it is, it is not built anew.
        """
        built = self.count_calls(MatchingTree, "choose")
        names = {5: "a", 6: "b", 7: "c"}
        for chains, more, told, trees in (
            ("ab", {}, ["a", "b", "nothing"], 1),
            ("aB", {}, ["a", "B", "nothing"], 1),
            ("aBc", {}, ["a", "B", "c"], 1),
            ("bc", {5: "c"}, ["c", "b", "c"], 2),
            ("bc", {5: "c"}, ["c", "b", "c"], 2),
            ("c", {5: "c"}, ["c", "nothing", "c"], 2),
        ):
            matcher = matcher_of({**names, **more})
            texts = [
                says(each).replace(f"{{name: {each}", f"{{name: {each.lower()}") for each in chains
            ]
            self.update(ONE, *texts, more=f"{self.more}\n{matcher}")
            self.assertEqual(told, [self.told(f"127.0.0.1:{port}") for port in (5, 6, 7)])
            self.assertEqual(trees, len(built))

    def test_back_again(self) -> None:
        """A chain that comes back is a new one, and the clients of the old one leave in time."""
        self.update(ONE)
        self.mesh.advance(1)
        self.update(ONE, TWO)
        new = self.mesh.redirect("127.0.0.1:2")
        self.mesh.advance(DRAIN - 1)
        self.assertEqual((True, False), (self.two.ended, new.ended))

    def test_compared_before(self) -> None:
        """An update of many chains is compared in small steps; applied after that it is compared no
        more, unless there was another one in between.
        """
        many = [says(f"n{i}", f"server_names: [n{i}.test]") for i in range(1000)]
        self.update(ONE, *many)
        manager, compared = self.mesh.listeners, list[int]()
        message = listener_of(ONE, *many[:-1], says("new", "destination_port: 2"), more=self.more)
        self.assertEqual(4, sum(1 for _ in manager.prepare(message)))

        def noted(*sequences: Any) -> Any:
            compared.append(1)
            return difference(*sequences)

        self.patch(manager_module, "difference", noted)
        manager.add_or_update(message)
        self.assertEqual([], compared)
        self.assertEqual("new", self.told("127.0.0.1:2"))
        for _ in manager.prepare(listener_of(ONE, more=self.more)):
            pass
        self.update(ONE, says("other", "destination_port: 2"))
        self.assertEqual([1], compared)
        self.assertEqual("other", self.told("127.0.0.1:2"))

    def test_default_chain(self) -> None:
        """The default chain is drained as any other."""
        self.update(ONE, default=says("a"))
        self.update(ONE, default=says("b"))
        self.assertEqual(2, self.manager()["total_filter_chains_draining"])
        self.assertEqual("b", self.told("127.0.0.1:9"))

    def test_last_client(self) -> None:
        """With the last client of a chain that is no more goes all that it had."""
        self.update(says("rest"))
        self.assertEqual(2, self.mesh.stat("tcp.t.downstream_cx_total"))
        for client in (self.one, self.two):
            client.transport.abortConnection()
        self.mesh.pump()
        self.assertEqual({}, self.mesh.stats("tcp.t."))
        self.assertEqual(1, len(list(self.listener()._chains)))

    def test_cannot_be_built(self) -> None:
        """Where a chain cannot be built none is changed."""
        wrong = listener_of(says("new"), says("wrong", "destination_port: 3"), more=self.more)
        config = wrong.filter_chains[1].filters[0].typed_config
        config.type_url = config.type_url.replace("direct_response", "nothing")
        self.assertRaises(UnknownExtension, self.mesh.listeners.add_or_update, wrong)
        self.mesh.advance(DRAIN)
        self.assertEqual([False, False], [self.one.ended, self.two.ended])
        self.mesh.redirect("127.0.0.1:2")
        self.assertEqual(3, self.mesh.stat("tcp.t.downstream_cx_total"))
        self.assertNotIn("listener_in_place_updated", self.manager())
        self.update(ONE)
        self.assertEqual(1, self.manager()["listener_in_place_updated"])

    def test_removed_meanwhile(self) -> None:
        """A listener that goes while chains are drained drains too, and leaves nothing behind."""
        self.update(ONE)
        self.mesh.advance(DRAIN / 2)
        self.mesh.listeners.remove("l")
        self.mesh.advance(DRAIN / 2)
        self.assertEqual((False, True), (self.one.ended, self.two.ended))
        self.mesh.advance(DRAIN / 2)
        self.assertEqual((True, True), (self.one.ended, self.two.ended))
        self.assertEqual({}, self.mesh.stats("listener.127"))

    def test_stopped_meanwhile(self) -> None:
        """The proxy waits for no drain when it ends."""
        self.update(ONE)
        stopped = self.mesh.listeners.stop()
        self.mesh.pump()
        self.successResultOf(stopped)
        times = [call.getTime() for call in self.mesh.clock.getDelayedCalls()]
        self.assertNotIn(self.mesh.clock.seconds() + DRAIN, times)

    def test_other_change(self) -> None:
        """Where anything else changes the listener is replaced."""
        before = self.listener()
        self.update(ONE, address="127.0.0.1:2")
        self.assertIsNot(before, self.listener())
        self.assertNotIn("listener_in_place_updated", self.manager())

    def test_before_the_start(self) -> None:
        """Before workers have started a listener is replaced."""
        mesh = self.make_mesh(2)
        mesh.listeners.add_or_update(listener_of(says("a"), address="127.0.0.1:2"))
        mesh.listeners.add_or_update(listener_of(says("b")))
        mesh.listeners.start()
        self.assertEqual(0, mesh.stat("listener_manager.listener_in_place_updated"))
        self.assertEqual(b"b", mesh.connect(FRONT).received)


class DifferenceTests(MeshTestCase):
    """What two messages differ in."""

    def test_only_chains(self) -> None:
        """Chains, the default chain and the matcher may differ; neither may be without a chain, nor
        begin to want a PROXY header.
        """
        base = listener_of(says("a"))
        for other in (
            listener_of(says("b")),
            listener_of(says("a"), default=says("b")),
            listener_of(says("a"), more="filter_chain_matcher: {}"),
            listener_of(says("b"), says("a", more="use_proxy_proto: true, ")),
        ):
            self.assertTrue(changes_only_chains(base, other))
        for other in (
            listener_of(default=says("a")),
            listener_of(says("a", more="use_proxy_proto: true, ")),
            listener_of(says("a"), more="tcp_backlog_size: 1"),
            listener_of(says("a"), address="127.0.0.1:2"),
        ):
            self.assertFalse(changes_only_chains(base, other))
            self.assertFalse(changes_only_chains(other, base))

    def test_difference(self) -> None:
        """Chains that go, come, change or stand elsewhere: what is in both is in neither list."""
        texts = {name: says(name) for name in "abcdefgh"}

        def chains(names: str) -> list[Any]:
            return [*listener_of(*(texts[name] for name in names)).filter_chains]

        for before, after, gone, come in (
            ("abc", "abc", "", ""),
            ("abc", "axc", "b", "x"),
            ("abc", "xbcy", "a", "xy"),
            ("abcd", "dcba", "", ""),
            ("abcd", "ad", "bc", ""),
            ("ad", "abcd", "", "bc"),
            ("abc", "cx", "ab", "x"),
            ("", "ab", "", "ab"),
        ):
            texts.update(x=says("x"), y=says("y"))
            found = difference(chains(before), chains(after))
            names = ["".join(before[i] for i in found.gone), "".join(after[i] for i in found.come)]
            self.assertEqual([gone, come], names)

    @given(
        st.lists(st.sampled_from("abcdefghi"), unique=True),
        st.lists(st.sampled_from("abcdefghi"), unique=True),
        st.integers(1, 4),
    )
    def test_steps(self, before: list[str], after: list[str], at_once: int) -> None:
        """However many are compared in a step, the difference is what either has alone."""
        self.patch(updates, "AT_ONCE", at_once)
        chains = [[FilterChain(name=name) for name in names] for names in (before, after)]
        found = difference(*chains)
        self.assertEqual(set(before) - set(after), {before[i] for i in found.gone})
        self.assertEqual(set(after) - set(before), {after[i] for i in found.come})
        self.assertEqual(len(found.gone), len({*found.gone}))

    def test_left_out(self) -> None:
        """Chains are compared as a whole, in no order."""
        base = listener_of(says("a"), says("b"), default=says("c"))
        for count, other in (
            (0, listener_of(says("b"), says("a"), default=says("c"))),
            (2, listener_of(says("b"), says("a", "source_type: 1"))),
            (0, listener_of(says("a"), says("b"), says("c"))),
            (1, listener_of(says("a"), default=says("b"))),
        ):
            found = difference(base.filter_chains, other.filter_chains)
            self.assertEqual(count, left_out(base, other, found))
