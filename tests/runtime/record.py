"""Asks the real Envoy what it makes of each case of recorded.json: `make record-runtime`.

A case has layers in YAML (`ROOT` stands for a folder with its files), files by their paths below
that folder, and requests to `/runtime_modify`.  Recorded are the answers to these, `/runtime`, the
statistics, and what the integer under `KEY` comes to.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks import tools
from tcpmesh.testing.child import free_port

RECORDED = Path(__file__).with_name("recorded.json")
KEY = "circuit_breakers.c.default.max_connections"
BOOTSTRAP = """
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}
static_resources:
  clusters: [{{name: c, load_assignment: {{cluster_name: c, endpoints: []}}}}]
layered_runtime: {{layers: [{layers}]}}
"""


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    """The answer of the admin interface."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")


def put_files(root: Path, files: dict[str, str]) -> None:
    """The files of a case."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def answers(port: int, case: dict[str, Any]) -> dict[str, Any]:
    """What Envoy says."""
    modified = [ask(port, f"/runtime_modify?{query}", "POST") for query in case["modify"]]
    shown = json.loads(re.sub(r"goo\.gle/debug\w+ *\\n", "", ask(port, "/runtime")[1]))
    stats = re.findall(r"^runtime\.(\w+): (\d+)$", ask(port, "/stats")[1], re.MULTILINE)
    found = re.search(
        r"^c::default_priority::max_connections::(\d+)$", ask(port, "/clusters")[1], re.M
    )
    assert found is not None
    return {
        "modified": [[status, text if status == 200 else ""] for status, text in modified],
        "layers": shown["layers"],
        "entries": {key: each["layer_values"] for key, each in sorted(shown["entries"].items())},
        "final": {key: each["final_value"] for key, each in sorted(shown["entries"].items())},
        "stats": {name: int(value) for name, value in stats if int(value)},
        "integer": int(found.group(1)),
    }


def run(envoy: str, case: dict[str, Any]) -> dict[str, Any]:
    """Start an Envoy and ask it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        put_files(root, case["files"])
        port = free_port()
        config = BOOTSTRAP.format(port=port, layers=case["layers"].replace("ROOT", folder))
        (root / "envoy.yaml").write_text(config)
        command = [envoy, "-c", str(root / "envoy.yaml"), "-l", "error", "--concurrency", "1"]
        with subprocess.Popen([*command, "--use-dynamic-base-id"]) as process:
            try:
                for _ in range(100):
                    time.sleep(0.1)
                    try:
                        if ask(port, "/ready")[0] == 200:
                            return answers(port, case)
                    except OSError:
                        pass
                raise RuntimeError(f"Envoy does not begin: {case['name']}")
            finally:
                process.terminate()


def main(envoy: str) -> None:
    """Write all answers into the file."""
    cases = json.loads(RECORDED.read_text())
    for case in cases:
        case["envoy"] = run(envoy, case)
    RECORDED.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tools.envoy())
