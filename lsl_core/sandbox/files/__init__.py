"""Files on their way in, and the frames that images and videos become."""
