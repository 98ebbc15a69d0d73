"""The sandbox for people: pages to look at it with a browser."""
