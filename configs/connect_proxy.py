"""A proxy that takes CONNECT in HTTP/1.1, to try tunnelling.yaml with: it listens on port 8888 of
this machine alone, and connects wherever it is asked to.  It is no proxy for any other use.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import StreamReader, StreamWriter


async def relay(source: StreamReader, sink: StreamWriter) -> None:
    """Pass bytes on until there are no more."""
    try:
        while data := await source.read(1 << 16):
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        sink.close()


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    """Answer one request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    print(head.splitlines()[0], flush=True)
    method, authority, _ = head.split(" ", 2)
    host, _, port = authority.rpartition(":")
    if method != "CONNECT":
        writer.write(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        return
    try:
        upstream, sink = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, ValueError):
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")
        writer.close()
        return
    writer.write(b"HTTP/1.1 200 OK\r\nvia: 1.1 connect_proxy\r\n\r\n")
    await asyncio.gather(relay(reader, sink), relay(upstream, writer))


async def main(port: int = 8888) -> None:
    """Serve until Ctrl-C."""
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    print(f"proxy on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
