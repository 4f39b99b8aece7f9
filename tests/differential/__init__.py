"""What the real Envoy did, recorded, for the suite to compare tcpmesh with.

Each module here is a command that runs scenarios through the Envoy binary that `TCPMESH_ENVOY`
names and writes its choices into a JSON file beside it, which is checked in.  The suite reads the
recording alone and needs no Envoy.
"""
