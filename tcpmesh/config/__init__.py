"""Envoy bootstrap text becomes Envoy's own protobuf messages here, and every mistake in it a
problem with its line.

The way of a text: `yaml_text` or `json_text` (to nodes with places, see `source`) - `messages`
(nodes to messages) - `rules` (what the schema demands) and `checks` (what Envoy demands in code) -
`support` (what tcpmesh acts on); `load` walks it from end to end.
"""
