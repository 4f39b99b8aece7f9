"""What becomes dearer as there is more of it: `python -m benchmarks.growth`.

A proxy that is quick with one cluster and ten clients may have a list somewhere that it goes
through.  So the same work is done with little and with much around it: open connections, hosts to
choose from, filter chains, clusters.  What does not grow with it is as dear in the last line of a
table as in the first.  Envoy does the same in turns, with the same files.
"""
