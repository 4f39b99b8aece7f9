"""Runtime values: what each layer has, what counts, and the layer that operators change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain, islice

from tcpmesh.admin.answers.endpoint import JSON, Answer, Call, Endpoint, Refusal
from tcpmesh.runtime.entries import NotReadable
from tcpmesh.runtime.layers import NoAdminLayer
from tcpmesh.values.runtime import Entry

STEP = 256
"""Keys that are sorted in one step."""

_USAGE = """usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN
       or send the parameters as form values
use an empty value to remove a previously added override"""


def _runtime(call: Call) -> Answer:
    layers = call.server.runtime_layers()
    names = [name for name, _ in layers]
    return Answer(_page(names, [values for _, values in layers]), content_type=JSON)


def _page(names: Sequence[str], layers: Sequence[Mapping[str, Entry]]) -> Iterator[str]:
    """The page in pieces, for there may be many keys; some pieces are empty."""
    runs: list[tuple[str, ...]] = []
    keys: dict[str, None] = {}
    for index, key in enumerate(chain.from_iterable(layers)):
        keys[key] = None
        if index % STEP == 0:
            yield ""
    # In tuples, which the garbage collector looks at once at most, if there is nothing in them that
    # it collects, and in few of them at a time: there may be many such pages.
    unsorted = iter(keys)
    while run := tuple(sorted(islice(unsorted, STEP))):
        runs.append(run)
        yield ""
    before = '{\n "entries": {'
    for key in merge(*runs):
        texts = [values[key].text if key in values else "" for values in layers]
        final = next((text for text in reversed(texts) if text), "")
        yield (
            f'{before}\n  {json.dumps(key)}: {{\n   "final_value": {json.dumps(final)},\n'
            f'   "layer_values": {_list(texts, 4)}\n  }}'
        )
        before = ","
    yield "\n }" if keys else f"{before}}}"
    yield f',\n "layers": {_list(names, 2)}\n}}\n'


def _list(texts: Sequence[str], depth: int) -> str:
    """A list as `json.dumps` lays it out, which does so in Python and leaves garbage each time."""
    if not texts:
        return "[]"
    line = "\n" + " " * depth
    return f"[{line}" + f",{line}".join(map(json.dumps, texts)) + f"{line[:-1]}]"


def _runtime_modify(call: Call) -> Answer:
    if not call.parameters:
        raise Refusal(_USAGE)
    try:
        call.server.modify_runtime(call.parameters)
    except (NoAdminLayer, NotReadable) as e:
        raise Refusal(str(e), 503) from None
    return Answer("OK\n")


ENDPOINTS = (
    Endpoint("/runtime", "print runtime values", _runtime),
    Endpoint(
        "/runtime_modify",
        "set runtime values: ?key1=value1&key2=value2; an empty value removes",
        _runtime_modify,
        changes=True,
    ),
)
