"""What is drawn: checked as CVAT checks it, kept, and given back."""
