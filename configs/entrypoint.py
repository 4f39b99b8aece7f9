"""What a container of the image runs: twistd, with the habits of the Envoy image.

`envoy -c FILE` and `-c FILE` serve a file, as there; without arguments that is
/etc/envoy/envoy.yaml; `tcpmesh ...` and `tcpmesh-demoapp ...` are twistd's own commands.

The first process of a container is sent no signal for which it has no handler, and twistd takes a
moment until it has one: a container that is stopped meanwhile would be killed ten seconds later.
So the first thing here, before anything slow is imported, is a handler.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

BOOTSTRAP = "/etc/envoy/envoy.yaml"
ADMIN_ADDRESS = "/tmp/tcpmesh-admin-address"
"""Where the health check of the image finds the admin interface."""

FOREGROUND = ["twistd", "--nodaemon", "--pidfile="]
COMMANDS = ("tcpmesh", "tcpmesh-demoapp")


def stop(signum: int, frame: FrameType | None) -> None:
    """End at once: nothing has been started."""
    os._exit(0)


def command(arguments: list[str]) -> list[str]:
    """The command line of twistd for the arguments of a container."""
    if arguments[:1] == ["envoy"]:
        arguments = arguments[1:]
    elif arguments and arguments[0] in COMMANDS:
        name, *rest = arguments
        own = ["--admin-address-path", ADMIN_ADDRESS] if name == "tcpmesh" else []
        return [*FOREGROUND, name, *own, *rest]
    arguments = arguments or ["--config-path", BOOTSTRAP]
    return [*FOREGROUND, "tcpmesh", "--admin-address-path", ADMIN_ADDRESS, *arguments]


if __name__ == "__main__":
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    sys.argv = command(sys.argv[1:])
    from twisted.scripts.twistd import run

    run()
