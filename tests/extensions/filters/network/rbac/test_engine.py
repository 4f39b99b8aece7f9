"""What rbac decides: policies by their names, conditions, actions, matching trees."""

from __future__ import annotations

import random
from typing import Any

from envoy.config.rbac.v3.rbac_pb2 import RBAC
from google.protobuf.json_format import ParseDict
from xds.type.matcher.v3.matcher_pb2 import Matcher

from tcpmesh.extensions.filters.network.rbac.engine import (
    Decision,
    Engine,
    Policies,
    Tree,
    engine_of,
)
from tcpmesh.values.address import Address
from tcpmesh.values.stream.moment import Moment
from tests.extensions.filters.network.rbac.test_rules import network
from tests.extras import needs_cel
from tests.listener.matching.test_chain_match import client
from tests.listener.matching.test_tree import exact, typed
from tests.mesh import MeshTestCase

ANY = [{"any": True}]


def policy(principals: Any = ANY, permissions: Any = ANY, **more: Any) -> dict[str, Any]:
    """A `Policy`."""
    return {"principals": principals, "permissions": permissions, **more}


def of(*networks: str, kind: str = "remote_ip") -> list[dict[str, Any]]:
    """Principals: clients from these networks."""
    return [{kind: network(each)} for each in networks]


def now() -> Moment:
    """No special moment."""
    return Moment(0, 0)


class EngineTestCase(MeshTestCase):
    """Asks for decisions."""

    def decide(self, engine: Engine, host: str = "10.0.0.1") -> Decision:
        """About a client from there."""
        return engine.decide(client(there=Address(host, 5)), now)

    def policies(self, action: str = "ALLOW", /, **policies: Any) -> Policies:
        """What decides by these."""
        message = ParseDict({"action": action, "policies": policies}, RBAC())
        return Policies(message, self.mesh.worker.context)


class ActionTests(EngineTestCase):
    """What a policy that holds, and that none does, comes to."""

    def test_actions(self) -> None:
        """ALLOW lets in whom a policy is for, DENY whom none is for, and LOG all, with a hint."""
        mine, other = policy(of("10.0.0.0/8")), policy(of("11.0.0.0/8"))
        self.assertEqual((True, "p", None), self.decide(self.policies("ALLOW", p=mine)))
        self.assertEqual((False, "", None), self.decide(self.policies("ALLOW", p=other)))
        self.assertEqual((False, "p", None), self.decide(self.policies("DENY", p=mine)))
        self.assertEqual((True, "", None), self.decide(self.policies("DENY", p=other)))
        self.assertEqual((True, "p", True), self.decide(self.policies("LOG", p=mine)))
        self.assertEqual((True, "", False), self.decide(self.policies("LOG", p=other)))

    def test_no_policies(self) -> None:
        """Without policies ALLOW lets nobody in, and DENY everybody."""
        self.assertFalse(self.decide(self.policies("ALLOW")).allowed)
        self.assertTrue(self.decide(self.policies("DENY")).allowed)

    def test_both_parts(self) -> None:
        """A policy holds where one of its permissions does, and one of its principals."""
        ports = [{"destination_port": 443}, {"destination_port": 444}]
        for permissions, principals, holds in (
            (ports, of("11.0.0.0/8", "10.0.0.0/8"), True),
            (ports[1:], of("10.0.0.0/8"), False),
            (ports, of("11.0.0.0/8"), False),
        ):
            engine = self.policies(p=policy(principals, permissions))
            self.assertIs(holds, self.decide(engine).allowed)


class OrderTests(EngineTestCase):
    """Which of several policies is named."""

    def test_by_name(self) -> None:
        """The first by name that holds, wherever it stands."""
        engine = self.policies(z=policy(), b=policy(), a=policy(of("11.0.0.0/8")))
        self.assertEqual("b", self.decide(engine).policy)
        self.assertEqual("a", self.decide(engine, "11.0.0.1").policy)

    def test_tables(self) -> None:
        """Policies that are found by address and those that have to be asked keep their order."""
        engine = self.policies(
            a=policy(of("10.0.0.1/32"), [{"destination_port": 1}]),
            b=policy(of("10.0.0.0/24")),
            c=policy([{"not_id": of("10.0.0.1/32")[0]}]),
            d=policy(of("10.0.0.0/8", kind="direct_remote_ip")),
            e=policy(of("12.0.0.0/8")),
        )
        hosts = ("10.0.0.1", "10.0.0.2", "10.1.0.1", "12.0.0.1", "13.0.0.1")
        self.assertEqual(
            ["b", "b", "c", "c", "c"], [self.decide(engine, host).policy for host in hosts]
        )

    def test_as_if_asked_one_by_one(self) -> None:
        """Of many policies for addresses the one is named that asking each would find."""
        choose = random.Random(3)
        for _ in range(30):
            policies = {}
            for index in range(40):
                host = ".".join(str(choose.randrange(3)) for _ in range(4))
                nets = of(f"{host}/{choose.randrange(4, 33)}")
                policies[f"p{index:02}"] = policy(nets)
            host = ".".join(str(choose.randrange(3)) for _ in range(4))
            one_by_one = [
                name
                for name in sorted(policies)
                if self.decide(self.policies(**{name: policies[name]}), host).allowed
            ]
            found = self.decide(self.policies(**policies), host).policy
            self.assertEqual((one_by_one or [""])[0], found)


@needs_cel
class ConditionTests(EngineTestCase):
    """Policies with an expression."""

    def port_is(self, port: int) -> dict[str, Any]:
        """A condition: the client comes from this port."""
        field = {"select_expr": {"operand": {"ident_expr": {"name": "source"}}, "field": "port"}}
        value = {"const_expr": {"int64_value": port}}
        return {"call_expr": {"function": "_==_", "args": [field, value]}}

    def test_condition(self) -> None:
        """It has to be true, too."""
        self.assertTrue(self.decide(self.policies(p=policy(condition=self.port_is(5)))).allowed)
        self.assertFalse(self.decide(self.policies(p=policy(condition=self.port_is(6)))).allowed)

    def test_checked(self) -> None:
        """One that was checked counts where there is no other."""
        checked = {"expr": self.port_is(6)}
        self.assertFalse(self.decide(self.policies(p=policy(checked_condition=checked))).allowed)
        both = policy(condition=self.port_is(5), checked_condition=checked)
        self.assertTrue(self.decide(self.policies(p=both)).allowed)

    def test_no_truth(self) -> None:
        """What is neither true nor false, or comes to nothing, is not true."""
        nothing = {"select_expr": {"operand": {"ident_expr": {"name": "source"}}, "field": "no"}}
        for condition in ({"const_expr": {"string_value": "a"}}, nothing):
            self.assertFalse(self.decide(self.policies(p=policy(condition=condition))).allowed)


class TreeTests(EngineTestCase):
    """Matching trees."""

    def tree(self, **actions: str) -> Tree:
        """What decides by the last byte of a client's address."""
        table = {
            f"10.0.0.{key[1:]}": {
                "action": typed("envoy.config.rbac.v3.Action", name=f"to {action}", action=action)
            }
            for key, action in actions.items()
        }
        return Tree(ParseDict(exact(table), Matcher()), self.mesh.worker.context)

    def test_actions(self) -> None:
        """What is chosen is done, and who has nothing chosen is denied."""
        tree = self.tree(_1="ALLOW", _2="DENY")
        self.assertEqual((True, "to ALLOW", None), self.decide(tree, "10.0.0.1"))
        self.assertEqual((False, "to DENY", None), self.decide(tree, "10.0.0.2"))
        self.assertEqual((False, "", None), self.decide(tree, "10.0.0.3"))

    def test_log(self) -> None:
        """Where LOG is among the actions, each that is chosen gives a hint."""
        tree = self.tree(_1="ALLOW", _2="LOG")
        self.assertEqual((True, "to ALLOW", False), self.decide(tree, "10.0.0.1"))
        self.assertEqual((True, "to LOG", True), self.decide(tree, "10.0.0.2"))
        self.assertIsNone(self.decide(tree, "10.0.0.3").log)

    def test_goes_first(self) -> None:
        """A tree goes before rules; where there is neither nothing is decided."""
        context = self.mesh.worker.context
        self.assertIsInstance(engine_of(RBAC(), Matcher(), context), Tree)
        self.assertIsInstance(engine_of(RBAC(), None, context), Policies)
        self.assertIsNone(engine_of(None, None, context))
