"""Where each field of a message stands in the sources it was read from.

Nothing is recorded while messages are read.  The nodes are kept, and a path is walked down through
them when somebody asks, by the same rules that made the message: both spellings of names, nested
lists flattened, lists of a later source appended.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as AbstractSequence
from types import MappingProxyType

from tcpmesh.config.text.problems import Path, Place
from tcpmesh.config.text.source import Document, Node, Scalar, Sequence, camel_case
from tcpmesh.config.text.source import Mapping as MappingNode

_Found = tuple[Document, Node]


def flattened(node: Node) -> list[Node]:
    """The elements that a repeated field takes from a node: one value is a list of one, a list in a
    list is no level.
    """
    if not isinstance(node, Sequence):
        return [] if isinstance(node, Scalar) and node.value is None else [node]
    if not any(isinstance(item, Sequence) for item in node.items):
        return node.items
    out: list[Node] = []
    for item in node.items:
        out.extend(flattened(item) if isinstance(item, Sequence) else [item])
    return out


class SourceMap:
    """The places of a loaded configuration; `at("static_resources", "clusters", 3, "name")` is the
    line of that name.
    """

    def __init__(
        self,
        documents: AbstractSequence[Document],
        name: str = "",
        arguments: Mapping[Path, str] = MappingProxyType({}),
    ) -> None:
        self._documents = documents
        self._name = name
        self._arguments = arguments
        self._flat: dict[int, list[Node]] = {}

    def with_arguments(self, arguments: Mapping[Path, str]) -> SourceMap:
        """The same places, but for fields that an option of the command line sets: they stand
        there, without line.
        """
        return SourceMap(self._documents, self._name, arguments)

    def at(self, *path: str | int, but_not: tuple[object, ...] = ()) -> Place:
        """The place of a field, or where it is not written, of the innermost thing around it that
        is.

        :param but_not: values with which a source takes nothing back from one before it.
        """
        if path in self._arguments:
            return Place(self._arguments[path])
        found: list[_Found] = [(document, document.root) for document in self._documents]
        key: _Found | None = None
        for step in path:
            inner = self._items(found, step) if isinstance(step, int) else self._values(found, step)
            if not inner:
                break
            key = self._key(found, step) if isinstance(step, str) else None
            found = inner
        if not found:
            return Place(self._name)
        document, node = next(
            (pair for pair in reversed(found) if not _says_nothing(pair[1], but_not)), found[-1]
        )
        if key is not None and not isinstance(node, Scalar):
            document, node = key
        return document.place(node)

    def written(self, *path: str | int) -> bool:
        """Whether a field is written in a source, with a value that is not null; for what a message
        alone cannot tell: whether somebody wrote the zero of a field.
        """
        found: list[_Found] = [(document, document.root) for document in self._documents]
        for step in path:
            found = self._items(found, step) if isinstance(step, int) else self._values(found, step)
        return any(not isinstance(node, Scalar) or node.value is not None for _, node in found)

    def _items(self, found: list[_Found], index: int) -> list[_Found]:
        """The one element that an index means, counted through the lists of all sources."""
        for document, node in found:
            items = self._flat.get(id(node))
            if items is None:
                items = self._flat[id(node)] = flattened(node)
            if index < len(items):
                return [(document, items[index])]
            index -= len(items)
        return []

    def _values(self, found: list[_Found], name: str) -> list[_Found]:
        pairs = [(document, _value(node, name)) for document, node in found]
        return [(document, node) for document, node in pairs if node is not None]

    def _key(self, found: list[_Found], name: str) -> _Found | None:
        """The key of a field in the last source that has it: a better place for a mapping or list
        than its first element.
        """
        for document, node in reversed(found):
            mapping = _mapping_with(node, name)
            if mapping is not None:
                return document, mapping.keys[name if name in mapping.keys else camel_case(name)]
        return None


def _says_nothing(node: Node, values: tuple[object, ...]) -> bool:
    """Whether a source that has such a node changes nothing of what one before it says."""
    return isinstance(node, Scalar) and (node.value is None or node.value in values)


def _mapping_with(node: Node, name: str) -> MappingNode | None:
    """The mapping that has a field: the node, or the `value` inside of an Any that wraps a
    TypedStruct.
    """
    if not isinstance(node, MappingNode):
        return None
    if name in node.items or camel_case(name) in node.items:
        return node
    inner = node.items.get("value") if "@type" in node.items else None
    return _mapping_with(inner, name) if inner is not None else None


def _value(node: Node, name: str) -> Node | None:
    mapping = _mapping_with(node, name)
    if mapping is None:
        return None
    return mapping.items.get(name) or mapping.items.get(camel_case(name))
