"""Predictions of images, kept so that a model is asked once."""
