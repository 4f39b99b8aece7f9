"""Mirrors `tcpmesh/server/overload`."""
