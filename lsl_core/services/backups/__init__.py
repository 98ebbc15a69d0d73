"""Backups of CVAT: taken, kept, looked into, proved and brought back, asked for or by the clock."""
