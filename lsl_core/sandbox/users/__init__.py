"""Users, organisations and their secrets, and who may pass."""
