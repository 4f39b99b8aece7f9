"""A client with one connection, which asks one question after the other: `python -m
benchmarks.waits.client PORT`.

It reads orders, a line each: how many requests, and how many nanoseconds from one to the next, 0
for "as soon as the one before is answered".  For each order it prints a line of JSON: for each
request when it was due, when it was sent, and when its answer was there, in nanoseconds of the
monotonic clock.

With a fixed rate a request is due whether the one before it was answered or not.  A proxy that is
away for ten requests makes ten of them late, not one: whoever waits for each answer before he asks
again would count one (coordinated omission).
"""

from __future__ import annotations

import ctypes
import gc
import json
import socket
import sys
import time

from benchmarks.backends import ECHO_PATH
from benchmarks.process import BenchmarkError

_PR_SET_TIMERSLACK = 29


def ask(sock: socket.socket, number: int) -> int:
    """One request and its answer; when that was there.

    :raise BenchmarkError: it is not the right one.
    """
    body = b"%018d" % number
    sock.send(b"GET %s%s HTTP/1.1\r\nHost: bench\r\n\r\n" % (ECHO_PATH.encode(), body))
    answer = sock.recv(65536)
    end = b"\r\n\r\n" + body
    while not answer.endswith(end):
        more = sock.recv(65536)
        if not more:
            raise BenchmarkError(f"wrong answer {answer[-100:]!r}")
        answer += more
    done = time.monotonic_ns()
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise BenchmarkError(f"wrong answer {answer[:100]!r}")
    return done


def run(sock: socket.socket, first: int, count: int, interval: int) -> list[tuple[int, int, int]]:
    """So many requests; when each was due, sent and answered."""
    now = time.monotonic_ns
    times = []
    due = now() + interval
    for number in range(first, first + count):
        if interval:
            ahead = due - now()
            if ahead > 0:
                time.sleep(ahead / 1e9)
        sent = now()
        done = ask(sock, number)
        times.append((due if interval else sent, sent, done))
        due += interval
    return times


def main() -> None:
    """Serve orders until there are no more."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)
    gc.disable()
    number = 0
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as sock:
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for line in sys.stdin:
            count, interval = map(int, line.split())
            print(json.dumps(run(sock, number, count, interval)), flush=True)
            number += count


if __name__ == "__main__":
    main()
