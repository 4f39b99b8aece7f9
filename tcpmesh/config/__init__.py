"""Envoy bootstrap text becomes Envoy's own protobuf messages here, and every mistake in it a problem with its line.

The way of a text: `source` (text to nodes with places) - `messages` (nodes to messages) - `rules` (what the schema demands) -
`checks` (what Envoy demands in code) - `support` (what tcpmesh acts on); `load` walks it from end to end.
"""
