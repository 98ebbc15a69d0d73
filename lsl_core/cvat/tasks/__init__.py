"""Tasks with their labels, frames and jobs; for every room of `cvat` but `connection`."""
