"""A model labels: it looks, people decide, its labels go out and come back corrected."""
