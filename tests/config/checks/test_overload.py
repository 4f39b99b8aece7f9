"""What Envoy demands of an overload manager, and what is accepted and does nothing for TCP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from twisted.trial.unittest import SynchronousTestCase

from tests.config.texts import GOOD, said, warned

Config = Mapping[str, Any]

RESOURCE = "envoy.resource_monitors.injected_resource"
LIMIT = "envoy.resource_monitors.global_downstream_max_connections"
ACCEPT = "envoy.load_shed_points.tcp_listener_accept"
THRESHOLD: Config = {"threshold": {"value": 0.5}}


def typed(kind: str, **fields: Any) -> Config:
    """An Any of the overload manager's own types."""
    return {"@type": f"type.googleapis.com/envoy.config.overload.v3.{kind}", **fields}


def resource(kind: str, name: str, **fields: Any) -> Config:
    """A resource monitor."""
    package = f"type.googleapis.com/envoy.extensions.resource_monitors.{kind}"
    return {"name": name, "typed_config": {"@type": package, **fields}}


def injected(filename: str = "/tmp/pressure") -> Config:
    """A resource whose pressure a file says."""
    return resource("injected_resource.v3.InjectedResourceConfig", RESOURCE, filename=filename)


def limit(name: str = LIMIT, most: int = 10) -> Config:
    """The limit of all connections."""
    kind = "downstream_connections.v3.DownstreamConnectionsConfig"
    return resource(kind, name, max_active_downstream_connections=most)


def heap(**fields: Any) -> Config:
    """A limit of memory."""
    return resource("fixed_heap.v3.FixedHeapConfig", "heap", **fields)


def trigger(how: Config = THRESHOLD, name: str = RESOURCE) -> Config:
    """What makes something active."""
    return {"name": name, **how}


def action(name: str, *triggers: Config, **fields: Any) -> Config:
    """An overload action, by the end of its name."""
    found = list(triggers) or [trigger()]
    return {"name": f"envoy.overload_actions.{name}", "triggers": found, **fields}


def point(name: str, *triggers: Config) -> Config:
    """A load shed point."""
    return {"name": name, "triggers": list(triggers) or [trigger()]}


def scaled(scaling: float, saturation: float) -> Config:
    """A trigger that becomes active by and by."""
    return {"scaled": {"scaling_threshold": scaling, "saturation_threshold": saturation}}


class OverloadTests(SynchronousTestCase):
    """The overload manager of a bootstrap."""

    def manager(self, *resources: Config, **fields: Any) -> list[str]:
        """What is said of an overload manager: its field without `overload_manager.`, and the
        text.
        """
        manager = {"resource_monitors": list(resources or [injected()]), **fields}
        text = GOOD + yaml.safe_dump({"overload_manager": manager})
        return [each.partition("overload_manager.")[2] for each in said(text) or warned(text)]

    def one(self, *resources: Config, **fields: Any) -> str:
        """The same, where there is one thing to be said."""
        found = self.manager(*resources, **fields)
        self.assertEqual(1, len(found), found)
        return found[0]

    def test_right(self) -> None:
        """All that there is for TCP is accepted without a word."""
        scale = typed(
            "ScaleTimersOverloadActionConfig",
            timer_scale_factors=[
                {"timer": "TRANSPORT_SOCKET_CONNECT", "min_scale": {"value": 10}},
            ],
        )
        found = self.manager(
            injected(),
            limit(),
            heap(max_heap_size_bytes_runtime={"default_value": 1, "runtime_key": "x"}),
            refresh_interval="0.5s",
            actions=[
                action("stop_accepting_connections"),
                action("reject_incoming_connections", trigger(scaled(0.1, 0.2))),
                action("shrink_heap", typed_config=typed("ShrinkHeapConfig", timer_interval="2s")),
                action("reduce_timeouts", typed_config=scale),
            ],
            loadshed_points=[
                point(ACCEPT),
                point("envoy.load_shed_points.connection_pool_new_connection"),
                point("envoy.load_shed_points.tcp_proxy_on_data"),
                point("envoy.load_shed_points.tcp_proxy_upstream_connect"),
            ],
        )
        self.assertEqual([], found)

    def test_names(self) -> None:
        """Resources, actions, points and the triggers of each have names of their own."""
        shrink = action("shrink_heap")
        twice = [trigger(), trigger()]
        for found, text in (
            (self.one(injected(), injected()), "resource_monitors[1].name: duplicate resource mon"),
            (self.one(actions=[shrink, shrink]), "actions[1].name: duplicate overload action"),
            (self.one(loadshed_points=[point(ACCEPT)] * 2), "points[1].name: duplicate load shed"),
            (
                self.one(actions=[action("shrink_heap", *twice)]),
                "actions[0].triggers[1].name: duplicate trigger",
            ),
            (
                self.one(loadshed_points=[point(ACCEPT, *twice)]),
                "loadshed_points[0].triggers[1].name: duplicate trigger",
            ),
            (
                self.manager(actions=[shrink], loadshed_points=[point(shrink["name"])])[0],
                "is the name of an overload action",
            ),
        ):
            self.assertIn(text, found)

    def test_unknown(self) -> None:
        """An action that does not exist, and a trigger by what nobody looks at, are refused."""
        self.assertIn("actions[0].name: there is no overload", self.one(actions=[action("nope")]))
        by_nothing = trigger(name="nothing")
        for found in (
            self.one(actions=[action("shrink_heap", by_nothing)]),
            self.one(loadshed_points=[point(ACCEPT, by_nothing)]),
        ):
            self.assertIn("triggers[0].name: no resource monitor is named 'nothing'", found)

    def test_scaled(self) -> None:
        """What is scaled begins below what it ends at, and both are shares."""
        for low, high in ((0.5, 0.5), (0.6, 0.5)):
            found = self.one(actions=[action("shrink_heap", trigger(scaled(low, high)))])
            self.assertIn("scaling_threshold: it must be less than saturation_threshold", found)
        for how in ({"threshold": {"value": 2}}, scaled(0.1, 1.5), scaled(-0.1, 0.5)):
            found = self.one(actions=[action("shrink_heap", trigger(how))])
            self.assertIn("the value must be at ", found)

    def test_settings(self) -> None:
        """Two actions have settings, each its own, and reduce_timeouts needs them."""
        timer = {"timer": "TRANSPORT_SOCKET_CONNECT", "min_timeout": "1s"}
        shrink = typed("ShrinkHeapConfig")
        for fields, text in (
            (action("stop_accepting_connections", typed_config=shrink), "takes no typed_config"),
            (action("reduce_timeouts"), "typed_config: 'envoy.overload_actions.reduce_timeouts' r"),
            (action("reduce_timeouts", typed_config=shrink), "typed_config.@type: the typed"),
            (
                action(
                    "reduce_timeouts",
                    typed_config=typed(
                        "ScaleTimersOverloadActionConfig", timer_scale_factors=[timer, timer]
                    ),
                ),
                "timer_scale_factors[1].timer: duplicate timer TRANSPORT_SOCKET_CONNECT",
            ),
        ):
            self.assertIn(text, self.one(actions=[fields]))

    def test_nothing_for_tcp(self) -> None:
        """What concerns HTTP alone, or is shed by nothing, is accepted and told."""
        for name in (
            "stop_accepting_requests",
            "disable_http_keepalive",
            "close_idle_http_connections",
        ):
            self.assertIn("does nothing for TCP", self.one(actions=[action(name)]))
        reset = action("reset_high_memory_stream")
        self.assertIn("requires buffer_factory_config", self.one(actions=[reset]))
        self.assertEqual(
            1,
            len(
                self.manager(
                    actions=[reset],
                    buffer_factory_config={
                        "minimum_account_to_track_power_of_two": 20,
                    },
                )
            ),
        )
        nowhere = point("envoy.load_shed_points.hcm_ondata_creating_codec")
        self.assertIn("warning: nothing of TCP is shed", self.one(loadshed_points=[nowhere]))
        timers = [{"timer": "HTTP_DOWNSTREAM_STREAM_IDLE", "min_timeout": "1s"}]
        scale = typed("ScaleTimersOverloadActionConfig", timer_scale_factors=timers)
        found = self.one(actions=[action("reduce_timeouts", typed_config=scale)])
        self.assertIn("warning: HTTP_DOWNSTREAM_STREAM_IDLE is a timer of HTTP", found)

    def test_limit(self) -> None:
        """The limit of all connections has one name, and nothing goes by its pressure."""
        self.assertIn("resource_monitors[0].name: this resource", self.one(limit("other")))
        by_limit = trigger(name=LIMIT)
        found = self.one(limit(), actions=[action("shrink_heap", by_limit)])
        self.assertIn("warning: ", found)
        found = self.one(limit(), loadshed_points=[point(ACCEPT, by_limit)])
        self.assertNotIn("warning", found)
        self.assertIn("acts by itself", found)

    def test_heap(self) -> None:
        """A limit of memory is given once, as a number or by the runtime, and is more than 0."""
        zero = {"default_value": 0, "runtime_key": "x"}
        self.assertIn("max_heap_size_bytes: it is required", self.one(heap()))
        for fields, text in (
            ({"max_heap_size_bytes_runtime": zero}, "default_value: it must be greater than 0"),
            (
                {"max_heap_size_bytes": 1, "max_heap_size_bytes_runtime": zero},
                "max_heap_size_bytes_runtime: only one of",
            ),
        ):
            self.assertIn(text, self.one(heap(**fields)))

    def test_file(self) -> None:
        """A file that says a pressure is in a directory that is there."""
        self.assertIn("there is no directory '/nowhere'", self.one(injected("/nowhere/x")))
        self.assertIn("names no directory that it is in (./x)", self.one(injected("x")))

    def test_kinds(self) -> None:
        """A resource monitor has a type, and that of a resource monitor."""
        self.assertIn("no typed_config", self.one({"name": "x"}))
        raw = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
        found = self.one({"name": "x", "typed_config": {"@type": raw}})
        self.assertIn("typed_config.@type: envoy.extensions.transport", found)
