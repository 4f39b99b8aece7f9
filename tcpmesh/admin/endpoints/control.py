"""What steers the process."""

from __future__ import annotations

from tcpmesh.admin.answers.endpoint import Answer, Call, Endpoint


def _quit(call: Call) -> Answer:
    return Answer("OK\n", afterwards=call.server.quit)


ENDPOINTS = (Endpoint("/quitquitquit", "exit the server", _quit, changes=True),)
