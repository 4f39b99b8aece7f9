"""The files in configs/: what a newcomer runs first must not be broken."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.load import load

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
COMPOSE = CONFIGS / "docker-compose.yaml"

#: Of the tutorial's own file.
TUTORIAL_SHA256 = "3470a426495d593df949e4d0c6955980065bc4ca0d47fcd8841427686bcfcd86"

#: The tutorial's compose file: host names and addresses.
TUTORIAL_ADDRESSES = {
    "envoy": "172.21.1.254",
    "webserver01": "172.21.1.2",
    "webserver02": "172.21.1.3",
}


def bootstraps() -> list[Path]:
    """Every YAML file here that is an Envoy bootstrap: all but the compose file."""
    return sorted(path for path in CONFIGS.glob("*.y*ml") if path != COMPOSE)


def compose() -> Any:
    """The compose file as plain values."""
    return yaml.safe_load(COMPOSE.read_text())


class BootstrapTests(SynchronousTestCase):
    """The bootstraps."""

    def test_every_bootstrap_loads(self) -> None:
        """Each is accepted, without so much as a warning, and has a listener and a cluster."""
        loaded = {path.name: load(str(path)) for path in bootstraps()}

        self.assertLessEqual({"demo.yaml", "envoy.yaml"}, set(loaded))
        for name, result in loaded.items():
            self.assertEqual((), result.warnings, name)
            self.assertTrue(result.bootstrap.static_resources.listeners, name)
            self.assertTrue(result.bootstrap.static_resources.clusters, name)

    def test_the_tutorials_file_is_unchanged(self) -> None:
        """envoy.yaml is the tutorial's, byte for byte."""
        self.assertEqual(
            TUTORIAL_SHA256, hashlib.sha256((CONFIGS / "envoy.yaml").read_bytes()).hexdigest()
        )


class ComposeTests(SynchronousTestCase):
    """The compose file."""

    def test_services_and_addresses(self) -> None:
        """It has the tutorial's three services at the tutorial's addresses, in the tutorial's
        network.
        """
        services = compose()["services"]

        addresses = {
            name: service["networks"]["envoymesh"]["ipv4_address"]
            for name, service in services.items()
        }
        self.assertEqual(TUTORIAL_ADDRESSES, addresses)
        self.assertEqual(
            [{"subnet": "172.21.1.0/24"}], compose()["networks"]["envoymesh"]["ipam"]["config"]
        )

    def test_its_files_exist(self) -> None:
        """The Dockerfile that it builds from and the configuration that it mounts are there."""
        envoy = compose()["services"]["envoy"]

        self.assertTrue(
            (CONFIGS / envoy["build"]["context"] / envoy["build"]["dockerfile"]).is_file()
        )
        self.assertEqual(["./envoy.yaml:/etc/envoy/envoy.yaml:ro"], envoy["volumes"])

    def test_web_servers_have_a_name_and_a_port(self) -> None:
        """Each web server runs the demo backend under its own host name, on the port that
        envoy.yaml sends to.
        """
        for name in ("webserver01", "webserver02"):
            service = compose()["services"][name]
            self.assertEqual(
                (name, ["PORT=8080"], "tcpmesh-demoapp"),
                (service["hostname"], service["environment"], service["command"]),
            )
