"""What is learnt from: labelled images, cut and levelled for a network, and images made by rule."""
