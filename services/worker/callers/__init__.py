"""Callers of a worker: the dispatch port, their connections, and every run from its first frame to its last."""
