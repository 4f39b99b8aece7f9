"""The shape of the house: which room may import which, as docs/architecture.md draws it.

Read from the syntax trees of all modules, so that an import inside a function or under
`TYPE_CHECKING` counts like any other: what a module knows of is a fact about its text.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent

#: From the ground up.  A room imports from rooms below it and beside it.
LAYERS = (
    ("facts", "values", "version", "wire", "logs", "interfaces"),
    ("stats", "config", "runtime", "net"),
    ("connection", "registry", "xds"),
    ("rpc",),
    ("accesslog", "cluster", "listener"),
    ("extensions",),
    ("admin", "server"),
    ("tap_help", "tap_log", "tap_options", "tap_output", "tap_process", "tap_processors"),
    ("cli_completion", "cli_migrate", "embedding", "tap", "terminal"),
    ("__main__", "cli"),
)
HEIGHT = {room: height for height, layer in enumerate(LAYERS) for room in layer}

#: Rooms of one layer that must not know each other at all.
STRANGERS = ({"cluster", "listener"},)

#: No folder has more modules than can be taken in at a glance.
MOST_MODULES = 16

#: What stands beside the layers: `testing` may import anything and nothing imports it; `demoapp` is
#: a program of its own.
BESIDE = {"testing", "demoapp"}

#: Whole packages that a room does without, and why that is worth a test.
WITHOUT = {
    "wire": {
        "twisted": "parsers are sans-io",
        "google": "parsers yield facts, not messages",
        "envoy": "parsers yield facts, not messages",
    },
    "config": {"twisted": "a configuration can be checked without a reactor"},
    "net": {"google": "sockets know no configuration", "envoy": "sockets know no configuration"},
}


@dataclass(frozen=True)
class Arrow:
    """One import: module `source` (a dotted name) imports `target` at `place` (file and line)."""

    source: str
    target: str
    place: str

    @property
    def rooms(self) -> tuple[str, str]:
        """The rooms at both ends; empty for the package tcpmesh itself and for what is outside of
        it.
        """
        return room_of(self.source), room_of(self.target)

    def __str__(self) -> str:
        return f"{self.place}: {self.source} imports {self.target}"


def room_of(module: str) -> str:
    """The second part of a dotted name in tcpmesh, else the empty string."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "tcpmesh" else ""


def module_name(path: Path) -> str:
    """The dotted name of a file below the root of the repository."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(node: ast.AST, package: str) -> Iterator[str]:
    """The dotted names that an import statement may bind; none for any other node."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [base])])
        yield from (f"{base}.{alias.name}" for alias in node.names)


def arrows_of(path: Path) -> Iterator[Arrow]:
    """Every import of one file."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        for target in imported(node, package):
            yield Arrow(name, target, f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}")


@cache
def all_arrows() -> tuple[Arrow, ...]:
    """Every import of tcpmesh, which takes seconds to read."""
    return tuple(arrow for path in SOURCES for arrow in arrows_of(path))


def run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: all but the bodies of functions."""
    nodes: list[ast.AST] = list(tree.body)
    while nodes:
        node = nodes.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            nodes.extend(ast.iter_child_nodes(node))


SOURCES = sorted((ROOT / "tcpmesh").rglob("*.py"))
MODULES = {module_name(path): path for path in SOURCES}


def is_one_extension(one: str, other: str) -> bool:
    """Whether two modules are parts of an extension that is a package, such as tcp_proxy."""
    package = one.rpartition(".")[0]
    has_code = (MODULES[package].read_text() or "") != ""
    return has_code and other.startswith(f"{package}")


def module_of(target: str) -> str:
    """The module of tcpmesh that an imported name is, or is in; else the empty string."""
    while target and target not in MODULES:
        target = target.rpartition(".")[0]
    return target


def folder_of(module: str) -> str:
    """Where a module stands.  One at the top of tcpmesh is a room of its own."""
    folder = MODULES[module].parent
    return module if folder == ROOT / "tcpmesh" else str(folder.relative_to(ROOT))


def circle(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """What imports itself in the end, by way of others; empty where nothing does."""
    left = {(source, target) for source, target in pairs if source != target}
    while True:
        # Whoever imports nothing that is left, or is imported by nobody, is in no circle.
        ends = {source for source, _ in left} & {target for _, target in left}
        inside = {pair for pair in left if ends.issuperset(pair)}
        if inside == left:
            return sorted(ends)
        left = inside


class LayerTests(SynchronousTestCase):
    """Every import in tcpmesh, against the drawing."""

    def setUp(self) -> None:
        """All imports."""
        self.arrows = all_arrows()

    def assert_none(self, wrong: list[Arrow], rule: str) -> None:
        """Fail with one line for each wrong import, under the rule that it breaks."""
        if wrong:
            self.fail("\n  ".join([rule, *(str(arrow) for arrow in wrong)]))

    def test_every_room_is_drawn(self) -> None:
        """Every module of tcpmesh stands in a room that has its place in the drawing."""
        rooms = {room_of(module_name(path)) for path in SOURCES} - {""}

        self.assertEqual(set(), rooms - set(HEIGHT) - BESIDE)

    def test_imports_point_down(self) -> None:
        """No room imports one above it."""
        pairs = [(arrow, *arrow.rooms) for arrow in self.arrows]
        upward = [
            arrow
            for arrow, own, other in pairs
            if own in HEIGHT and other in HEIGHT and HEIGHT[other] > HEIGHT[own]
        ]

        self.assert_none(
            upward,
            "imports point down only, from "
            + " <- ".join(", ".join(layer) for layer in LAYERS)
            + ":",
        )

    def test_no_circles(self) -> None:
        """No module imports itself by way of others, and no folder does, `TYPE_CHECKING` or not."""
        pairs = [(arrow.source, module_of(arrow.target)) for arrow in self.arrows]
        inside = [(source, target) for source, target in pairs if target]

        self.assertEqual([], circle(inside))
        self.assertEqual([], circle((folder_of(a), folder_of(b)) for a, b in inside))

    def test_folders_are_small(self) -> None:
        """No folder holds more modules than can be taken in at a glance."""
        counts = Counter(path.parent for path in SOURCES)

        self.assertEqual([], [str(path) for path, count in counts.items() if count > MOST_MODULES])

    def test_strangers(self) -> None:
        """cluster and listener, though neighbours, know nothing of each other."""
        wrong = [
            arrow
            for arrow in self.arrows
            for own, other in [arrow.rooms]
            if own != other and {own, other} in STRANGERS
        ]

        self.assert_none(wrong, "these rooms do not import each other:")

    def test_nothing_imports_what_stands_beside(self) -> None:
        """No room imports tcpmesh.testing or tcpmesh.demoapp, and the demo backend imports no
        room.
        """
        wrong = [
            arrow
            for arrow in self.arrows
            for own, other in [arrow.rooms]
            if (other in BESIDE and own != other) or (own == "demoapp" and other)
        ]

        self.assert_none(wrong, "testing and demoapp stand beside the product:")

    def test_extensions_do_not_import_each_other(self) -> None:
        """An extension learns of another's work from the connection's facts alone."""
        extensions = {module_name(path) for path in SOURCES if path.name != "__init__.py"}
        extensions = {name for name in extensions if name.startswith("tcpmesh.extensions.")}
        wrong = [
            arrow
            for arrow in self.arrows
            if arrow.source in extensions
            and any(
                name != arrow.source
                and f"{arrow.target}.".startswith(f"{name}.")
                and not is_one_extension(name, arrow.source)
                for name in extensions
            )
        ]

        self.assert_none(wrong, "extensions never import each other:")

    def test_rooms_do_without(self) -> None:
        """wire and config work without Twisted, wire and net without protobuf."""
        for room, packages in WITHOUT.items():
            for package, reason in packages.items():
                wrong = [
                    arrow
                    for arrow in self.arrows
                    if arrow.rooms[0] == room and arrow.target.partition(".")[0] == package
                ]
                self.assert_none(wrong, f"tcpmesh.{room} does without {package}: {reason}:")


class DrawingTests(SynchronousTestCase):
    """docs/architecture.md."""

    def test_drawing(self) -> None:
        """The rooms are drawn there on the floors that they have here."""
        text = (ROOT / "docs" / "architecture.md").read_text()
        drawing = text.split("```")[1].strip("\n").splitlines()
        floors = [line.split() for line in drawing if line.strip() != "│"]
        drawn = [
            tuple(word for word in floor[: len(layer)])
            for floor, layer in zip(floors[::-1], LAYERS, strict=True)
        ]

        self.assertEqual([set(layer) for layer in LAYERS], [set(floor) for floor in drawn])


class ReactorTests(SynchronousTestCase):
    """The reactor is an argument."""

    def test_no_module_imports_the_reactor_at_its_top(self) -> None:
        """Importing any module of tcpmesh leaves the choice of a reactor open."""
        wrong = [
            f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            for path in SOURCES
            for node in run_at_import(ast.parse(path.read_text(encoding="utf-8")))
            for target in imported(node, "")
            if target == "twisted.internet.reactor"
        ]

        self.assertEqual(
            [], wrong, "the reactor is an argument; these import the global one at their top"
        )


class ImportCostTests(SynchronousTestCase):
    """What a process pays before it serves."""

    def test_dataclasses_are_cheap(self) -> None:
        """Dataclasses are made by `tcpmesh.facts`, which compiles no method before it is needed."""
        wrong = [
            arrow.place
            for arrow in all_arrows()
            if arrow.target == "dataclasses.dataclass"
            and room_of(arrow.source) not in {"facts", *BESIDE}
        ]

        self.assertEqual([], wrong, "these are made by dataclasses, half a millisecond each")


class PluginFolderTests(SynchronousTestCase):
    """The folder that twistd searches."""

    def test_plugin_folder_is_no_package(self) -> None:
        """There is no __init__.py under twisted/: one would hide Twisted itself, or our plugins
        from it.
        """
        self.assertEqual(
            [], [str(path.relative_to(ROOT)) for path in (ROOT / "twisted").rglob("__init__.py")]
        )
