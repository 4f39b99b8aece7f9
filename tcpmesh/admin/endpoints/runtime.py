"""Runtime values: without layers in the configuration there are none, and nothing that could be
modified.
"""

from __future__ import annotations

from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint, Refusal, json_answer

_USAGE = """usage: /runtime_modify?key1=value1&key2=value2&keyN=valueN
       or send the parameters as form values
use an empty value to remove a previously added override
"""


def _runtime(call: Call) -> Answer:
    return json_answer({"entries": {}, "layers": []})


def _runtime_modify(call: Call) -> Answer:
    if not call.parameters:
        raise Refusal(_USAGE)
    raise Refusal("No admin layer specified", 503)


ENDPOINTS = (
    Endpoint("/runtime", "print runtime values", _runtime),
    Endpoint(
        "/runtime_modify",
        "set runtime values: ?key1=value1&key2=value2; an empty value removes",
        _runtime_modify,
        changes=True,
    ),
)
