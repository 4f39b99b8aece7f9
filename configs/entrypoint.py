"""What a container of the image runs: the script `tcpmesh`, with the habits of the Envoy image.

`envoy -c FILE` and `-c FILE` serve a file, as there; without arguments that is
/etc/envoy/envoy.yaml.  `tcpmesh` and its commands (`validate FILE`) are the console script,
`tcpmesh-demoapp` is the demo backend, and any other program of the image is run as it is.

The first process of a container is sent no signal for which it has no handler, and Twisted takes a
moment until it has one: a container that is stopped meanwhile would be killed ten seconds later.
So the first thing here, before anything slow is imported, is a handler.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from types import FrameType

BOOTSTRAP = "/etc/envoy/envoy.yaml"
ADMIN_ADDRESS = "/tmp/tcpmesh-admin-address"
"""Where the health check of the image finds the admin interface."""

DEMOAPP = "tcpmesh-demoapp"
FOREGROUND = ["twistd", "--nodaemon", "--pidfile="]


def stop(signum: int, frame: FrameType | None) -> None:
    """End at once: nothing has been started."""
    os._exit(0)


def command(arguments: list[str]) -> list[str]:
    """The command line for the arguments of a container: its program first."""
    name = arguments[0] if arguments else ""
    if name == DEMOAPP:
        return [*FOREGROUND, *arguments]
    if name in ("envoy", "tcpmesh"):
        arguments = arguments[1:]
    elif name and not name.startswith("-") and shutil.which(name):
        return arguments
    if not arguments:
        arguments = ["--config-path", BOOTSTRAP]
    if arguments[0] == "run" or arguments[0].startswith("-"):
        return ["tcpmesh", *arguments, *_admin_address(arguments)]
    return ["tcpmesh", *arguments]


def _admin_address(arguments: list[str]) -> list[str]:
    """Where the health check looks, unless somebody says where else the address is to stand."""
    option = "--admin-address-path"
    given = any(each.partition("=")[0] == option for each in arguments)
    return [] if given else [option, ADMIN_ADDRESS]


if __name__ == "__main__":
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    sys.argv = command(sys.argv[1:])
    if sys.argv[0] == "tcpmesh":
        from tcpmesh.cli import main

        main()
    elif sys.argv[0] == FOREGROUND[0]:
        from twisted.scripts.twistd import run

        run()
    else:
        os.execvp(sys.argv[0], sys.argv)
