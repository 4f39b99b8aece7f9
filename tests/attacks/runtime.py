"""Whoever may write to the folder of a runtime layer, or set values."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

from tests.attacks.admin import asks, get, post
from tests.attacks.attack import MIB, Attack, Bootstrap, Limits, Scene, Target
from tests.attacks.peers import connect, swallow, until

FOLDERS = 100
FILES = 1000

TREE = Limits(peak=256 * MIB, kept=160 * MIB)
"""A hundred thousand values, once more while they change."""


def write(root: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """A tree of files."""
    for name, data in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def many(first: int) -> Iterator[tuple[str, bytes]]:
    """A hundred thousand files with numbers."""
    for folder in range(FOLDERS):
        for number in range(FILES):
            yield f"d{folder}/k{number}", b"%d" % (first + number)


TREES: Mapping[str, Callable[[], Iterable[tuple[str, bytes]]]] = {
    "one": lambda: many(0),
    "other": lambda: many(1),
    "large": lambda: [(f"k{each[0]}", each * MIB) for each in (b"\n", b"x", b"\xff")],
    "lines": lambda: [(f"k{number}", b"#\na\n" * (MIB // 4)) for number in range(8)],
    "loops": lambda: [("k", b"1")],
}


def made(folder: Path, name: str) -> str:
    """A tree, which is there from now on."""
    if name in TREES and not (folder / name).exists():
        write(folder / name, TREES[name]())
        for link in "abcd" if name == "loops" else "":
            (folder / name / link).symlink_to(".")
    return name


def swaps(folder: Path, *trees: str) -> Callable[[Target, float], str]:
    """The link points to one tree after the other, each as soon as the last one counts."""

    def strike(target: Target, seconds: float) -> str:
        for tree in trees:
            made(folder, tree)
        end, swapped = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            for tree in trees:
                before = loads(target)
                (folder / "new").symlink_to(tree)
                os.rename(folder / "new", folder / "link")
                while loads(target) == before and time.monotonic() < end:
                    time.sleep(0.05)
                swapped += loads(target) != before
        return "" if swapped else "no tree was read"

    return strike


def loads(target: Target) -> int:
    """How often the layers were read."""
    with connect(target.ports["admin"]) as sock:
        sock.sendall(get("/stats?filter=^runtime.load&format=json"))
        sock.settimeout(5)
        data = b""
        while b"\r\n\r\n" not in data or not data.rstrip().endswith(b"}"):
            data += sock.recv(1 << 16)
    stats = json.loads(data[data.index(b"{") : data.rindex(b"}") + 1])["stats"]
    return sum(each["value"] for each in stats)


def _sets(target: Target, seconds: float) -> None:
    for number in until(seconds):
        keys = "&".join(f"n{number}.k{key}={quote('{a: 1}')}" for key in range(500))
        with connect(target.ports["admin"]) as sock:
            head = post("/runtime_modify", "application/x-www-form-urlencoded", "")
            length = f"Content-Length: {len(keys)}\r\nConnection: close\r\n\r\n".encode()
            sock.sendall(head.removesuffix(b"\r\n") + length + keys.encode())
            swallow(sock)


def scene(stack: ExitStack, bootstrap: Bootstrap) -> Iterator[Attack]:
    """A proxy with a layer on disk and one of operators."""
    folder = Path(tempfile.mkdtemp(prefix="tcpmesh-attack-"))
    stack.callback(shutil.rmtree, folder)
    bootstrap.layers = [
        {"name": "disk", "disk_layer": {"symlink_root": str(folder / "link")}},
        {"name": "admin", "admin_layer": {}},
    ]
    hundred = "A tree of 100,000 files takes the place of another."
    yield Attack("swap", hundred, swaps(folder, "other", "one"), 20, TREE)
    yield Attack("gone", "It goes, and comes back.", swaps(folder, "nowhere", "one"), 20, TREE)
    yield Attack("page", "Twenty clients ask for it.", asks(get("/runtime"), clients=20), 5, TREE)
    yield Attack("large", "Values of a mebibyte.", swaps(folder, "large", "lines"), 5)
    yield Attack("loops", "Directories that contain themselves.", swaps(folder, "loops"), 5)
    yield Attack("set", "Values are set, ever others.", _sets, 3, TREE)


SCENES: dict[str, Scene] = {"runtime": scene}
