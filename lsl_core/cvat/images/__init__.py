"""The images of a task, brought to this machine; for `backup` and the face of `cvat`."""
