"""ClientHellos as a coverage-guided fuzzer makes them, from those of real clients:
`python -m tests.fuzz.client_hello -max_total_time=60`.

Whatever the bytes are, nothing is raised, and how they are cut makes no difference.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tcpmesh.wire"]):
    from tcpmesh.wire.client_hello import ClientHelloMessage, ClientHelloReader
    from tcpmesh.wire.fingerprints import ja3, ja4

from tests.wire.hellos import recorded


def check(data: bytes) -> None:
    """Read these bytes at once and in two pieces; the first byte says where they are cut."""
    cut, whole = (data[0] if data else 0), data[1:]
    reader = ClientHelloReader()
    said = reader.read(whole)
    pieces = ClientHelloReader()
    again = pieces.read(whole[:cut])
    if again is None:
        again = pieces.read(whole)
    assert (said, reader.consumed) == (again, pieces.consumed)
    assert reader.consumed <= len(whole)
    if isinstance(said, ClientHelloMessage):
        assert len(ja3(said)) == 32 and len(ja4(said)) == 36
        assert all(said.application_protocols)


def main() -> None:
    """Fuzz as the arguments say."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, each in enumerate(recorded()):
            Path(corpus, str(number)).write_bytes(b"\x40" + each.hello)
        atheris.Setup([*sys.argv, corpus], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
