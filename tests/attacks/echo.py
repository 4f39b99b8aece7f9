"""A program that sends back what it gets, to whoever connects; it prints the port that it has."""

from __future__ import annotations

import selectors
import socket


def main() -> None:
    """The program."""
    server = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server.setblocking(False)
    print(server.getsockname()[1], flush=True)
    selector = selectors.DefaultSelector()
    selector.register(server, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is server:
                _accept(server, selector)
            else:
                assert isinstance(key.fileobj, socket.socket)
                _serve(key.fileobj, selector)


def _accept(server: socket.socket, selector: selectors.BaseSelector) -> None:
    try:
        accepted, _ = server.accept()
    except OSError:
        return
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(accepted, selectors.EVENT_READ)


def _serve(sock: socket.socket, selector: selectors.BaseSelector) -> None:
    try:
        data = sock.recv(1 << 16)
        if data:
            sock.sendall(data)
            return
    except OSError:
        pass
    selector.unregister(sock)
    sock.close()


if __name__ == "__main__":
    main()
