"""Whoever chooses what is written to access logs, or is what they are written to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.attacks.admin import get
from tests.attacks.attack import (
    MIB,
    TYPES,
    Attack,
    Bootstrap,
    Limits,
    Scene,
    Target,
    listener_filter,
)
from tests.attacks.checks_http1 import silent
from tests.attacks.clients import with_tlvs
from tests.attacks.peers import Serve, Server, connect, reset, swallow, together, until

KIND = 0xEA
"""Of the values in PROXY headers that become metadata."""

METADATA = "envoy.filters.listener.proxy_protocol"

OPERATORS = (
    *("START_TIME", "START_TIME(%FT%T.%9f %s %%)", "DURATION", "BYTES_SENT", "BYTES_RECEIVED"),
    *("RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG", "RESPONSE_CODE_DETAILS", "UPSTREAM_HOST"),
    *("CONNECTION_TERMINATION_DETAILS", "UPSTREAM_TRANSPORT_FAILURE_REASON", "CONNECTION_ID"),
    *("DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS", "REQUESTED_SERVER_NAME"),
    *(f"DYNAMIC_METADATA({METADATA}:tlv)", f"DYNAMIC_METADATA({METADATA})", "PROTOCOL"),
    *(f"DYNAMIC_METADATA({METADATA}:tlv):7", "FILTER_STATE(a)", "FILTER_STATE(a:PLAIN):3"),
    *("TCPMESH(close_reason)", "COMMON_DURATION(DS_CX_BEG:DS_CX_END:us)", "UNIQUE_ID", "HOSTNAME"),
)

HOSTILE = (
    bytes(range(256)) * 200,
    b"\0" * 60_000,
    b'"\\\n\r\t\x1b[31m' * 5000,
    b"\xed\xa0\x80\xed\xb0\x80\xf5\x80\xc0\xaf" * 5000,
    "\u202e\u2028\ufeff\ufffe\U0001f4a9".encode() * 4000,
    b"%DURATION%{{[[" * 4000,
    b"a.b;c|d#e:f,=" * 4000,
)
"""What a client says of itself."""


def _tell(target: Target, name: str, value: bytes) -> None:
    with suppress(OSError), connect(target.ports[name]) as sock:
        sock.sendall(with_tlvs((KIND, value)) + b"a")
        sock.recv(1)


def hostile(name: str) -> Callable[[Target, float], None]:
    """Clients whose headers hold what no log expects, ever another."""

    def strike(target: Target, seconds: float) -> None:
        def act() -> None:
            for number in until(seconds):
                value = HOSTILE[number % len(HOSTILE)]
                _tell(target, name, value[number % 97 : 60_000 - number % 89])

        together(4, act)

    return strike


def small(name: str) -> Callable[[Target, float], None]:
    """Clients that say little of themselves."""

    def strike(target: Target, seconds: float) -> None:
        for number in until(seconds):
            _tell(target, name, HOSTILE[number % len(HOSTILE)][:10])

    return strike


def moved(folder: Path) -> Callable[[Target, float], None]:
    """The same while the file is taken away, replaced by what is none, and opened anew."""

    def strike(target: Target, seconds: float) -> None:
        path = folder / "log"
        others: tuple[Callable[[], object], ...] = (
            lambda: None,
            path.mkdir,
            lambda: os.mkfifo(path),
            lambda: path.symlink_to(path),
        )
        for number in until(seconds):
            with suppress(OSError):
                (path.rmdir if path.is_dir() else path.unlink)()
            with suppress(FileExistsError):  # the proxy was faster
                others[number % len(others)]()
            os.kill(target.pid, signal.SIGUSR1)
            _tell(target, "hostile", HOSTILE[number % len(HOSTILE)][:60_000])

    return strike


def plain(name: str, counter: str) -> Callable[[Target, float], str]:
    """Clients that are logged where nothing is taken, of which this statistic tells."""

    def strike(target: Target, seconds: float) -> str:
        before = _sum(target, counter)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            _tell(target, name, b"a" * 10_000)
        for _ in until(5):
            if _sum(target, counter) != before:
                return ""
            time.sleep(0.1)
        return f"{counter} has not moved"

    return strike


def _sum(target: Target, pattern: str) -> int:
    with connect(target.ports["admin"]) as sock:
        sock.settimeout(5)
        sock.sendall(
            get(f"/stats?filter={pattern}&format=json").replace(
                b"Host: x", b"Host: x\r\nConnection: close"
            )
        )
        data = b""
        while more := sock.recv(1 << 16):
            data += more
    stats = json.loads(data.partition(b"\r\n\r\n")[2])["stats"]
    return sum(each.get("value", 0) for each in stats)


def _slow(sock: socket.socket) -> None:
    """Take a byte now and then."""
    while sock.recv(1):
        time.sleep(0.05)


def _liar(sock: socket.socket) -> None:
    """Answer before anything was asked, with what is no answer."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"a" * 100_000)
    swallow(sock)


def _resets(sock: socket.socket) -> None:
    sock.recv(100)
    reset(sock)


def _file(path: str, **log_format: Any) -> dict[str, Any]:
    config = {"@type": f"{TYPES}.access_loggers.file.v3.FileAccessLog", "path": path}
    formats = {"log_format": log_format} if log_format else {}
    return {"name": "file", "typed_config": {**config, **formats}}


def _text(text: str) -> dict[str, Any]:
    return {"text_format_source": {"inline_string": text}}


def _deep(depth: int) -> dict[str, Any]:
    value: Any = {"all": [f"%{each}%" for each in OPERATORS]}
    for _ in range(depth):
        value = {"in": value}
    return {"json_format": value}


def _fluentd(cluster: str) -> dict[str, Any]:
    kind = f"{TYPES}.access_loggers.fluentd.v3.FluentdAccessLogConfig"
    record = {"v": f"%DYNAMIC_METADATA({METADATA})%", "why": "%TCPMESH(close_reason)%"}
    config = {"cluster": cluster, "tag": "t", "stat_prefix": cluster, "record": record}
    return {"name": "fluentd", "typed_config": {"@type": kind, **config}}


def _otlp(cluster: str) -> dict[str, Any]:
    kind = f"{TYPES}.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"
    uri = {"uri": "http://x/v1/logs", "cluster": cluster, "timeout": "0.5s"}
    config: dict[str, Any] = {
        "http_service": {"http_uri": uri},
        "body": {"string_value": f"%DYNAMIC_METADATA({METADATA})%"},
        "log_name": cluster,
        "stat_prefix": cluster,
    }
    return {"name": "otlp", "typed_config": {"@type": kind, **config}}


def _stats() -> dict[str, Any]:
    tags = [{"name": "t", "value_format": f"%DYNAMIC_METADATA({METADATA}:tlv)%"}]
    counters = [{"stat": {"name": "n", "tags": tags}, "value_fixed": 1}]
    kind = f"{TYPES}.access_loggers.stats.v3.Config"
    return {
        "name": "stats",
        "typed_config": {"@type": kind, "stat_prefix": "a", "counters": counters},
    }


def _listener(bootstrap: Bootstrap, name: str, logs: Iterable[Mapping[str, Any]]) -> None:
    reads = listener_filter("proxy_protocol")
    rules = [{"tlv_type": KIND, "on_tlv_present": {"key": "tlv"}}]
    reads["typed_config"]["rules"] = rules
    bootstrap.add_listener(
        name, "echo", tcp_proxy={"access_log": list(logs)}, listener_filters=[reads]
    )


_COLLECTORS: tuple[tuple[str, str, Serve], ...] = (
    ("slow", "takes a byte now and then", _slow),
    ("silent", "takes nothing", silent),
    ("lying", "sends what nobody has asked for", _liar),
    ("resetting", "resets each connection", _resets),
)


def scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """Listeners that log in all ways."""
    folder = Path(tempfile.mkdtemp(prefix="tcpmesh-attack-"))
    stack.callback(shutil.rmtree, folder)
    os.mkfifo(folder / "fifo")
    every = " ".join(f"%{each}%" for each in OPERATORS) + "\n"
    long = every * (100_000 // len(every))
    written = [
        _file(str(folder / "log"), **_text(every)),
        _file(str(folder / "json"), **_deep(30)),
        _stats(),
    ]
    _listener(bootstrap, "hostile", written)
    _listener(bootstrap, "long", [_file("/dev/null"), _file(str(folder / "long"), **_text(long))])
    _listener(bootstrap, "full", [_file("/dev/full", **_text(every))])
    _listener(bootstrap, "fifo", [_file(str(folder / "fifo"), **_text(every))])
    yield Attack("values", "Values that no log expects.", hostile("hostile"), 4, _NAMES)
    yield Attack(
        "moved", "The file is moved away, and comes back as others.", moved(folder), 4, _NAMES
    )
    yield Attack("long", "A format of 100 KB.", small("long"), 2)
    yield Attack("full", "A disk that is full.", plain("full", "filesystem.write_failed"))
    buffered = "filesystem.write_total_buffered"
    yield Attack("fifo", "A FIFO that nobody reads.", plain("fifo", buffered), limits=_NAMES)
    for name, what, serve in _COLLECTORS:
        bootstrap.add_cluster(name, [Server(stack, serve).port])
        for kind, make in (("fluentd", _fluentd), ("otlp", _otlp)):
            _listener(bootstrap, f"{kind}_{name}", [make(name)])
            counter = f"access_logs.{'fluentd' if kind == 'fluentd' else 'open_telemetry'}"
            strike = plain(f"{kind}_{name}", counter)
            yield Attack(f"{kind}-{name}", f"A collector that {what}.", strike)


_NAMES = Limits(peak=160 * MIB, kept=96 * MIB)
"""Names of statistics as long as clients want them; files that do not take in time."""

SCENES: dict[str, Scene] = {"logs": scene}
