"""Runs the demo of `make run`: two demo backends and the proxy of demo.yaml, until Ctrl-C or until
one of them ends.

Every line the three print is shown with the name of who printed it.  It uses nothing of tcpmesh but
its command line.
"""

from __future__ import annotations

import http.client
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

CONFIG = Path(__file__).with_name("demo.yaml")
TWISTD = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile="]
BACKENDS = {"webserver01": ("127.0.0.2", 8080), "webserver02": ("127.0.0.3", 8080)}
PROXY = ("127.0.0.1", 10000)
ADMIN = ("127.0.0.1", 9901)
START_TIMEOUT = 20.0
STOP_TIMEOUT = 5.0

READY = """
tcpmesh is running.  Try, in another terminal:

  curl http://127.0.0.1:10000/            answers in turn from webserver01 and webserver02
  curl http://127.0.0.1:9901/stats        counters and gauges, under Envoy's names
  curl http://127.0.0.1:9901/clusters     what the proxy knows of each backend
  curl http://127.0.0.1:9901/listeners    where it listens

The configuration is configs/demo.yaml.  Ctrl-C stops everything.
"""


class DemoError(Exception):
    """The demo cannot go on; the text says why to whoever typed `make run`."""


class Child:
    """One of the three processes.  Its lines are printed with its name; its name goes to `ended`
    when it has ended.
    """

    def __init__(self, name: str, arguments: list[str], ended: queue.SimpleQueue[str]) -> None:
        self.name = name
        self._ended = ended
        # In a session of its own: Ctrl-C reaches this script alone, which then stops the proxy
        # before the backends.
        self._process = subprocess.Popen(
            [*TWISTD, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._printer = threading.Thread(target=self._print_lines, daemon=True)
        self._printer.start()

    def _print_lines(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            print(f"{self.name:>11} | {line.decode(errors='replace').rstrip()}", flush=True)
        self._ended.put(self.name)

    def stop(self) -> None:
        """Ask it to end, make it end if that takes too long, and show its last lines."""
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._printer.join(STOP_TIMEOUT)


def check_free(host: str, port: int) -> None:
    """Make sure that nobody listens there yet: a proxy that shares its port would else seem to
    start.

    :raise DemoError: somebody does, or the address cannot be used here.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError as error:
            raise DemoError(
                f"{host}:{port} cannot be used: {error.strerror}.\n"
                f"The demo needs 127.0.0.1:10000 and :9901, 127.0.0.2:8080 and 127.0.0.3:8080.  "
                f"To see who has that port: ss -ltnp"
            ) from None


def is_ready() -> bool:
    """Whether the proxy's admin interface says that it serves."""
    admin = http.client.HTTPConnection(*ADMIN, timeout=1.0)
    try:
        admin.request("GET", "/ready")
        return admin.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        admin.close()


def wait_until_ready(ended: queue.SimpleQueue[str]) -> None:
    """Return once the proxy serves.

    :raise DemoError: a process has ended instead, or it took too long.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while not is_ready():
        if time.monotonic() > deadline:
            raise DemoError(f"The proxy was not ready after {START_TIMEOUT:.0f} seconds.")
        try:
            raise DemoError(f"{ended.get(timeout=0.1)} has ended; its last lines above say why.")
        except queue.Empty:
            continue


def run() -> None:
    """The demo, until a signal or until one of its processes ends."""
    for address in (*BACKENDS.values(), PROXY, ADMIN):
        check_free(*address)
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    children: list[Child] = []
    try:
        for name, (host, port) in BACKENDS.items():
            arguments = [
                "tcpmesh-demoapp",
                "--name",
                name,
                "--interface",
                host,
                "--port",
                str(port),
            ]
            children.append(Child(name, arguments, ended))
        children.append(
            Child(
                "tcpmesh", ["tcpmesh", "--disable-hot-restart", "--config-path", str(CONFIG)], ended
            )
        )
        wait_until_ready(ended)
        print(READY, flush=True)
        raise DemoError(f"{ended.get()} has ended; its last lines above say why.")
    finally:
        for child in reversed(children):
            child.stop()


def main() -> int:
    """Exit status 0 after Ctrl-C or SIGTERM, 1 where the demo could not go on."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run()
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
