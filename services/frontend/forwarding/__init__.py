"""Requests for services that are not served here: streamed to the endpoint that a setting names, or refused."""
