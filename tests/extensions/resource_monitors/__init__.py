"""Mirrors `tcpmesh/extensions/resource_monitors`."""
