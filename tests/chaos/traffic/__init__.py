"""What a load is made of. Each kind of traffic remembers what was accepted of it, and counts what came of it, one by one.

What functions see of one another is read from where the cluster tells of ends: the queues of destinations. Times in them are
CLOCK_MONOTONIC, which all processes of a machine share.
"""
