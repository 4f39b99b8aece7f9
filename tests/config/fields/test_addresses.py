"""Addresses as Envoy takes them."""

from __future__ import annotations

import ipaddress

from envoy.config.core.v3.address_pb2 import Address
from hypothesis import example, given
from hypothesis import strategies as st

from twisted.trial.unittest import SynchronousTestCase

from tcpmesh.config.fields.addresses import address_key, is_ip

TEXTS = st.one_of(
    st.text(max_size=20),
    st.text("0123456789.", max_size=16),
    st.text("0123456789abcdefABCDEF:.", max_size=40),
    st.ip_addresses().map(str),
)


def known(text: str) -> bool:
    """Whether the standard library takes it for an address, of no zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def key(host: str, port: int = 80) -> str:
    """The key of an address and a port."""
    return address_key(Address(socket_address={"address": host, "port_value": port}))


class AddressesTests(SynchronousTestCase):
    """Texts that are addresses, or nearly so."""

    @given(TEXTS.filter(lambda text: "%" not in text))
    @example("01.2.3.4")
    @example("1.2.3")
    @example("1.2.3.4 ")
    @example("1.2.3.4\0")
    @example("\u0661.2.3.4")
    @example("\ud800")
    def test_is_ip(self, text: str) -> None:
        """What the standard library takes for an address is one, and nothing else."""
        self.assertEqual(known(text), is_ip(text))

    def test_address_key(self) -> None:
        """Two spellings of one address have one key; a port that the system chooses has none."""
        self.assertEqual("127.0.0.1:80", key("127.0.0.1"))
        self.assertEqual("[::1]:80", key("::1"))
        self.assertEqual(key("::1"), key("0:0:0:0:0:0:0:1"))
        self.assertEqual(["", ""], [key("localhost"), key("127.0.0.1", 0)])
        self.assertEqual("/run/s", address_key(Address(pipe={"path": "/run/s"})))
        inside = {"address": "::1", "port_value": 80, "network_namespace_filepath": "/ns"}
        self.assertEqual("[::1]:80 in /ns", address_key(Address(socket_address=inside)))
