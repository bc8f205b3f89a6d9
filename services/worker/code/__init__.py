"""Unpacked code and layers: the cache of them, and trees that are removed."""
