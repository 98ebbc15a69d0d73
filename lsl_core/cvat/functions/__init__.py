"""CVAT's AI tools, and ours in the SDK's types; for the face of `cvat`, and for `serve`."""
