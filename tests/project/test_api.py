"""The public API is what docs/api.md lists: no more, no less."""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType

from zope.interface.interface import InterfaceClass

from twisted.trial.unittest import SynchronousTestCase

from tests.project.files import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")


def listed() -> dict[str, set[str]]:
    """For each module that the page has a section of, the names that it lists."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    return {section.split()[0]: names_of(section) for section in sections}


def names_of(section: str) -> set[str]:
    """The names after "Exports:"."""
    return set(re.findall(r"`(\w+)`", section.partition("\nExports:")[2]))


def is_named_here(value: object, module: ModuleType) -> bool:
    """Whether a class, an interface or a function is the module's own."""
    own = getattr(value, "__module__", None) == module.__name__
    return own and (inspect.isroutine(value) or isinstance(value, (type, InterfaceClass)))


def exported(module: ModuleType) -> set[str]:
    """The `__all__` of a module, or else its own classes and functions without underscore."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    found = vars(module).items()
    return {name for name, value in found if name[0] != "_" and is_named_here(value, module)}


class ApiTests(SynchronousTestCase):
    """docs/api.md."""

    def test_what_is_listed_is_exported(self) -> None:
        """Each listed module exports the names that are listed for it and no others."""
        wrong = []
        for name, names in listed().items():
            there = exported(importlib.import_module(name))
            wrong += [f"{name} has no {gone}, which is listed" for gone in sorted(names - there)]
            wrong += [f"{name} exports {new}, not listed" for new in sorted(there - names)]

        self.assertEqual([], wrong, "docs/api.md lists the public API; change both together")

    def test_every_name_once(self) -> None:
        """No name is exported by two modules: there is one place to import it from."""
        names = [name for names in listed().values() for name in names]

        self.assertEqual([], sorted({name for name in names if names.count(name) > 1}))

    def test_sorted(self) -> None:
        """Modules stand in the order of the alphabet, and each has some name to export."""
        modules = listed()

        self.assertEqual(sorted(modules), list(modules))
        self.assertTrue(all(modules.values()), modules)
