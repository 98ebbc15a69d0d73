"""What the whole sandbox stands on: tables, threads, answers, its version, the way to a Nuclio."""
