"""The messages of Envoy 1.40, where the installed `xds-protos` knows only those of an older Envoy.

A field or an extension that the package lacks would be called unknown, and a user would look for a
typo that is not there.  So what is missing comes from a set of descriptors of our own (`newer`):
generated modules get it added as they are imported (`finder`, `loaders`, `fill`), and their fields
are fields like all others from then on.  What tcpmesh does with them says `support`, as of all.

A newer package needs less of the set, and one that has everything is left as it is.
"""
