"""Models that answer others: offers, the service of this machine, functions of CVAT's Nuclio."""
