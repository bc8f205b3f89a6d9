"""Lambda: a file for each resource, a small handler for each operation, registered in `operations`."""
