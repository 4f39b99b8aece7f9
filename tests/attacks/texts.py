"""Configurations that attack whoever reads them: memory out of proportion, or a traceback."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from google.protobuf.any_pb2 import Any

from tcpmesh.testing.child import TWISTD
from tests.attacks.attack import MIB

SCENE = "texts"

MEMORY = 100
"""Bytes of memory that a byte of a text may cost, above what an empty one does."""

ADDRESS_SPACE = 300 * MIB
"""For a reader that is to run out of memory."""

SECONDS = 30

EMPTY = "{}"


def _in_metadata(value: str) -> str:
    return '{"node": {"metadata": {"a": ' + value + "}}}"


def _long_string() -> str:
    return _in_metadata('"' + "a" * (5 * MIB) + '"')


def _escapes() -> str:
    return _in_metadata('"' + "\\n\\u00e9" * (5 * MIB // 8) + '"')


def _numbers() -> str:
    return _in_metadata("[" + ",".join(["1"] * 500_000) + "]")


def _many_numbers() -> str:
    return _in_metadata("[" + ",".join(["1"] * 5_000_000) + "]")


def _lists() -> str:
    return _in_metadata("[" * 50_000 + "]" * 50_000)


def _duration() -> str:
    return '{"stats_flush_interval": "' + "9" * 4400 + 's"}'


def _integer() -> str:
    return '{"stats_flush_on_admin": ' + "9" * 4400 + "}"


def _nested_text() -> str:
    field = "node { metadata { fields { key: 'a' value { "
    return field + "list_value { values { " * 5000 + "} } " * 5000 + "} } } }"


def _open_text() -> str:
    return "node { metadata { fields { value { " + "list_value { values { " * 50_000


def _any_in_any() -> bytes:
    """A bootstrap whose listener's filter holds an Any that holds an Any, 500 deep."""
    inner = Any(type_url="type.googleapis.com/google.protobuf.Any")
    for _ in range(500):
        outer = Any(type_url="type.googleapis.com/google.protobuf.Any")
        outer.value = inner.SerializeToString()
        inner = outer
    return _in_filter(inner.SerializeToString())


def _in_filter(config: bytes) -> bytes:
    def field(number: int, value: bytes) -> bytes:
        return _varint(number << 3 | 2) + _varint(len(value)) + value

    network_filter = field(1, b"a") + field(4, config)
    listener = field(1, b"l") + field(3, field(3, network_filter))
    return field(2, field(1, listener))


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes((value & 127 | 128,))
        value >>= 7
    return out + bytes((value,))


def _deep_yaml() -> str:
    return "a: " + "[" * 20_000


def _aliases() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines)


_TEXTS: tuple[tuple[str, str, Callable[[], str | bytes], int], ...] = (
    ("string", "json", _long_string, 0),
    ("string-yaml", "yaml", _long_string, 0),
    ("escapes", "json", _escapes, 0),
    ("numbers", "json", _numbers, 0),
    ("lists", "json", _lists, 0),
    ("duration", "json", _duration, 0),
    ("duration-yaml", "yaml", _duration, 0),
    ("integer", "json", _integer, 0),
    ("integer-yaml", "yaml", _integer, 0),
    ("nested-text", "pb_text", _nested_text, 0),
    ("open-text", "pb_text", _open_text, 0),
    ("any-in-any", "pb", _any_in_any, 0),
    ("deep-yaml", "yaml", _deep_yaml, 0),
    ("aliases", "yaml", _aliases, 0),
    ("no-memory", "json", _many_numbers, ADDRESS_SPACE),
    ("no-memory-yaml", "yaml", _many_numbers, ADDRESS_SPACE),
)
"""Name, kind of file, what makes it, and how much memory there is; 0 for all."""


def _read(path: Path, most: int) -> tuple[int, int, str]:
    """Let a text be judged: its status, the most memory that took, and what was said."""

    def limit() -> None:
        if most:
            resource.setrlimit(resource.RLIMIT_AS, (most, most))

    command = [TWISTD, "-n", "--pidfile=", "tcpmesh", "--mode", "validate", "--config", str(path)]
    output = path.with_name("output")
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["timeout", str(SECONDS), *command],
            stdout=file,
            stderr=file,
            cwd=path.parent,
            preexec_fn=limit,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024, output.read_text(errors="replace")


def flaws_of(status: int, grown: int, size: int, said: str) -> Iterator[str]:
    """What was wrong with how a text was judged."""
    if status not in (0, 1):
        yield f"status {status}"
    if "Traceback" in said:
        yield "a traceback: " + said.strip().splitlines()[-1][:80]
    elif status and not said.strip():
        yield "not a word"
    elif len(said) > 4000:
        yield f"{len(said)} characters of answer"
    if grown > MEMORY * size + 16 * MIB:
        yield f"{grown // MIB} MiB for a text of {size / MIB:.1f} MiB"


def play(wanted: Sequence[str]) -> int:
    """Let the texts be read; how many were not judged as they should be."""
    failed = 0
    with tempfile.TemporaryDirectory(prefix="texts") as name:
        plain = Path(name) / "empty.json"
        plain.write_text(EMPTY)
        _read(plain, 0)
        _, least, _ = _read(plain, 0)
        for title, kind, make, most in _TEXTS:
            full_name = f"{SCENE}/{title}"
            if wanted and not {SCENE, full_name} & set(wanted):
                continue
            made = make()
            data = made if isinstance(made, bytes) else made.encode()
            path = Path(name) / f"a.{kind}"
            path.write_bytes(data)
            status, memory, said = _read(path, most)
            flaws = list(flaws_of(status, memory - least, len(data), said))
            failed += bool(flaws)
            shown = f"{(memory - least) / MIB:10.1f} MiB for {len(data) / MIB:.1f}"
            print(f"{full_name:34}{shown}  {'; '.join(flaws) or 'ok'}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(bool(play(sys.argv[1:])))
