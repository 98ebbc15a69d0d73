"""How good a model is: figures, folds, thresholds, and whether it may take its parent's place."""
