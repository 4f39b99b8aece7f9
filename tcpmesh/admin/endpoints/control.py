"""What steers the process."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Parameter
from tcpmesh.values.drain import DrainScope
from tcpmesh.values.lifecycle.restart import CannotTakeOver
from tcpmesh.values.statuses import NotPossible


def _quit(call: Call) -> Answer:
    return Answer("OK\n", afterwards=call.server.quit)


def _fail_health_checks(call: Call) -> Answer:
    call.server.fail_health_checks(True)
    return Answer("OK\n")


def _pass_health_checks(call: Call) -> Answer:
    call.server.fail_health_checks(False)
    return Answer("OK\n")


def _drain_listeners(call: Call) -> Answer:
    scope = DrainScope.INBOUND if "inboundonly" in call.parameters else DrainScope.ALL
    is_graceful, stops = "graceful" in call.parameters, "skip_exit" not in call.parameters
    if is_graceful or stops:
        call.server.drain_listeners(scope, is_graceful, stops)
    return Answer("OK\n")


def _upgrade(call: Call) -> Deferred[Answer]:
    done: Deferred[int] = call.server.upgrade()
    return done.addCallbacks(_upgraded, _not_upgraded)


def _upgraded(pid: int) -> Answer:
    return Answer(f"process {pid} has taken over\n")


def _not_upgraded(reason: Failure) -> Answer:
    reason.trap(CannotTakeOver, NotPossible)
    return Answer(f"this process serves on: {reason.value}\n", 409)


ENDPOINTS = (
    Endpoint("/quitquitquit", "exit the server", _quit, changes=True),
    Endpoint(
        "/healthcheck/fail",
        "cause the server to fail health checks",
        _fail_health_checks,
        changes=True,
    ),
    Endpoint(
        "/healthcheck/ok",
        "cause the server to pass health checks",
        _pass_health_checks,
        changes=True,
    ),
    Endpoint(
        "/drain_listeners",
        "drain listeners",
        _drain_listeners,
        (
            Parameter(
                "graceful",
                "Accept clients for the drain time (--drain-time-s), and only then no more",
                flag=True,
            ),
            Parameter("skip_exit", "Go on accepting clients after that too", flag=True),
            Parameter(
                "inboundonly", "Only listeners whose traffic_direction is INBOUND", flag=True
            ),
        ),
        changes=True,
    ),
    Endpoint(
        "/upgrade",
        "start the program that is installed now, and let it take over",
        _upgrade,
        changes=True,
        is_own=True,
    ),
)
