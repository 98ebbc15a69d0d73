"""What all trainings have in common: settings, the loop, checkpoints, losses of masks."""
