"""What steers the process."""

from __future__ import annotations

from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Parameter


def _quit(call: Call) -> Answer:
    return Answer("OK\n", afterwards=call.server.quit)


def _fail_health(call: Call) -> Answer:
    call.server.fail_health(True)
    return Answer("OK\n")


def _pass_health(call: Call) -> Answer:
    call.server.fail_health(False)
    return Answer("OK\n")


def _drain_listeners(call: Call) -> Answer:
    call.server.drain_listeners(
        graceful="graceful" in call.parameters,
        inbound_only="inboundonly" in call.parameters,
        skip_exit="skip_exit" in call.parameters,
    )
    return Answer("OK\n")


ENDPOINTS = (
    Endpoint("/quitquitquit", "exit the server", _quit, changes=True),
    Endpoint(
        "/healthcheck/fail",
        "cause the server to fail health checks",
        _fail_health,
        changes=True,
    ),
    Endpoint(
        "/healthcheck/ok", "cause the server to pass health checks", _pass_health, changes=True
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
            Parameter(
                "skip_exit", "Never stop the listeners; graceful has no effect then", flag=True
            ),
            Parameter(
                "inboundonly", "Only listeners whose traffic_direction is INBOUND", flag=True
            ),
        ),
        changes=True,
    ),
)
