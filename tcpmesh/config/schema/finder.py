"""Finds the generated modules of Envoy's schema as they would be were `xds-protos` up to date.

protobuf takes one description of a `.proto` file for the whole process, and the first one counts: a
field cannot be added to a message later.  So a generated module whose file has gaps gets its
description filled right before it runs, whoever imports it: the description is a constant of its
code, and another one takes its place.  Nothing else changes; who knows only the older schema sees
messages with a few more fields.  A module that the package lacks is made when it is asked for.

This works from `import tcpmesh` on.  Modules that were imported before keep their gaps: `too_early`
names them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

_PREFIX = "envoy."
_SUFFIX = "_pb2"


class SchemaFinder:
    """A meta path finder: of the modules of newer files, and of the packages around those that
    nobody else has.

    What it needs of protobuf it imports when it is first asked for a module of Envoy's: until then
    it costs nothing.

    :param imported: the names of the modules that are there already.
    """

    def __init__(self, imported: Iterable[str]) -> None:
        self._imported = [
            name for name in imported if name.startswith(_PREFIX) and name.endswith(_SUFFIX)
        ]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if not fullname.startswith(_PREFIX):
            return None
        from tcpmesh.config.schema import loaders, newer

        file = newer.modules().get(fullname)
        if file is None and fullname not in newer.packages():
            return None
        spec = self._spec_of_others(fullname, path, target)
        if file is not None:
            return loaders.spec_of(fullname, spec, file)
        return spec or ModuleSpec(fullname, None, is_package=True)

    def _spec_of_others(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        others = (finder for finder in sys.meta_path if finder is not self)
        finders = (finder for finder in others if hasattr(finder, "find_spec"))
        specs = (finder.find_spec(fullname, path, target) for finder in finders)
        return next((spec for spec in specs if spec is not None), None)

    def too_early(self) -> list[str]:
        """The modules with gaps that were there before this finder: they cannot be filled now."""
        if not self._imported:
            return []
        from tcpmesh.config.schema import loaders, newer

        known = newer.modules()
        return [name for name in self._imported if name in known and loaders.has_gaps(name)]


FINDER = SchemaFinder(sys.modules)


def install() -> None:
    """Let Python ask this finder before others.  Where this module was imported before and then
    forgotten, as reloaders and coverage have it, that one's finder goes: the two would ask each
    other for ever.
    """
    others = [each for each in sys.meta_path if type(each).__module__ != __name__]
    sys.meta_path[:] = [FINDER, *others]
