"""Exports, imports and backups, and the file formats they are in."""
