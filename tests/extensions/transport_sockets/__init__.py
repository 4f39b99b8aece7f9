"""Mirrors `tcpmesh/extensions/transport_sockets`."""
