"""The command line, `lsl`."""
