"""How the compact network learns: crops, targets, losses, its loop, and the first pass."""
