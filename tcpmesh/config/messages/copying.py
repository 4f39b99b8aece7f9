"""Copies of bootstraps.

Protobuf copies a message at once, and whoever does that with ten thousand clusters in a thread lets
nobody else run: here each resource is copied by itself.
"""

from __future__ import annotations

from typing import Any


def copy_into(target: Any, source: Any, with_resources: bool = True) -> None:
    """Have an empty `bootstrap.v3.Bootstrap` say what another one says.

    :param with_resources: whether with its listeners, clusters and secrets.
    """
    for field, value in source.ListFields():
        if field.name == "static_resources":
            target.static_resources.SetInParent()
            if with_resources:
                _copy_lists(target.static_resources, value)
        elif field.is_repeated:
            getattr(target, field.name).MergeFrom(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _copy_lists(target: Any, source: Any) -> None:
    for field, messages in source.ListFields():
        for message in messages:
            getattr(target, field.name).add().CopyFrom(message)
