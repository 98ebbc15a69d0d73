"""File formats that the sandbox reads and writes, as CVAT does."""
