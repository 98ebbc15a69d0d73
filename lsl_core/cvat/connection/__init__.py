"""Signing in to a server, requests, errors, its background work; for every room of `cvat`."""
