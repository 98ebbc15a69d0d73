"""A task that is made, filled with images and known objects; for `backup` and the face."""
