"""What is drawn: read, changed, converted; for every room but `connection` and `tasks`."""
