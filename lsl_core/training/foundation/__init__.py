"""How foundation models are tuned: what stands behind frozen encoders learns."""
