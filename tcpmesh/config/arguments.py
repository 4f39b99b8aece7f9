"""What the command line says in place of fields of the node: `--service-node` and its like.

The bootstrap stays as it was written, as `/config_dump` shows it; what acts on the node gets a copy
with the arguments in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tcpmesh.config.load import Loaded
from tcpmesh.config.text.problems import Path

#: The field of the bootstrap that each option stands for.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "service-cluster": ("node", "cluster"),
    "service-node": ("node", "id"),
    "service-zone": ("node", "locality", "zone"),
}


def node_with(node: Any, arguments: Mapping[str, str]) -> Any:
    """A `core.v3.Node` with these options in place of what it says; an empty one says nothing."""
    made = type(node)()
    made.CopyFrom(node)
    for option, value in arguments.items():
        if value:
            *groups, name = OPTIONS[option][1:]
            message = made
            for group in groups:
                message = getattr(message, group)
            setattr(message, name, value)
    return made


def loaded_with(loaded: Loaded, arguments: Mapping[str, str]) -> Loaded:
    """A configuration as it counts with these options: such a field has the option's name for its
    place.
    """
    given: dict[Path, str] = {
        OPTIONS[option]: f"--{option}" for option, value in arguments.items() if value
    }
    if not given:
        return loaded
    if OPTIONS["service-zone"] in given:
        # An explanation shows a locality as one value.
        given["node", "locality"] = given[OPTIONS["service-zone"]]
    bootstrap = type(loaded.bootstrap)()
    bootstrap.CopyFrom(loaded.bootstrap)
    bootstrap.node.CopyFrom(node_with(bootstrap.node, arguments))
    return replace(loaded, bootstrap=bootstrap, places=loaded.places.with_arguments(given))
