"""The AWS services that the endpoint serves itself: a folder each, with a table of its operations."""
