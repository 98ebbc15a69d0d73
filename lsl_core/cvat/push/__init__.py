"""A push: planned, written down, sent, undone, reviewed; for `backup` and the face of `cvat`."""
