"""Models: trained, measured, looked at, kept in versions; and weights that others trained."""
