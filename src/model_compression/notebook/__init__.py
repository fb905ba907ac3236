"""What the notebook calls, and how it is run."""
