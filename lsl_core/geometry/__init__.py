"""Pure functions on arrays: boxes, masks, and their other forms."""
