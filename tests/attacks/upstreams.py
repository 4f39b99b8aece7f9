"""Upstreams that are silent, refuse, reset, or never accept."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from tests.attacks.attack import MIB, Attack, Bootstrap, Limits, Scene, Target
from tests.attacks.peers import Server, connect, crowd, reset, swallow, together, until


def clients(name: str, size: int = 300) -> Callable[[Target, float], None]:
    """So many clients that say something and wait."""

    def strike(target: Target, seconds: float) -> None:
        with crowd(target.ports[name], size) as socks:
            for sock in socks:
                with suppress(OSError):
                    sock.sendall(b"question")
            time.sleep(seconds)

    return strike


def again_and_again(name: str) -> Callable[[Target, float], None]:
    """Client after client, each until the upstream has ended it."""

    def strike(target: Target, seconds: float) -> None:
        def act() -> None:
            for _ in until(seconds):
                with suppress(OSError), connect(target.ports[name]) as sock:
                    sock.settimeout(0.5)
                    sock.sendall(b"question")
                    swallow(sock)

        together(8, act)

    return strike


def _dies(sock: socket.socket) -> None:
    sock.recv(1)
    sock.sendall(b"a")
    reset(sock)


def _one_by_one(sock: socket.socket) -> None:
    while True:
        sock.sendall(b"a")


def _silent(sock: socket.socket) -> None:
    time.sleep(30)


def _never_accepts(stack: ExitStack) -> int:
    """A port whose queue of connections is full."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    for _ in range(2):
        filler = stack.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(server.getsockname())
    return int(server.getsockname()[1])


def _refuses(stack: ExitStack) -> int:
    """A port that nobody listens on, and nobody else gets."""
    sock = stack.enter_context(socket.socket())
    sock.bind(("127.0.0.1", 0))
    return int(sock.getsockname()[1])


def scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A listener before each kind."""
    ports = {
        "silent": Server(stack, _silent).port,
        "dying": Server(stack, _dies).port,
        "dripping": Server(stack, _one_by_one).port,
        "closing": Server(stack, lambda sock: sock.close()).port,
        "never": _never_accepts(stack),
        "refusing": _refuses(stack),
    }
    for name, port in ports.items():
        bootstrap.add_cluster(name, [port], connect_timeout="0.3s")
        bootstrap.add_listener(name, name, tcp_proxy={"max_connect_attempts": 3})
    yield Attack("silent", "Accepts, takes nothing and answers nothing.", clients("silent"))
    yield Attack("never", "Never accepts.", again_and_again("never"))
    yield Attack("refusing", "Refuses each connection.", again_and_again("refusing"))
    yield Attack("dying", "Resets after a byte.", again_and_again("dying"))
    yield Attack("closing", "Closes at once.", again_and_again("closing"))
    yield Attack(
        "dripping", "Sends byte after byte.", clients("dripping", 20), limits=Limits(kept=32 * MIB)
    )


SCENES: dict[str, Scene] = {"upstreams": scene}
