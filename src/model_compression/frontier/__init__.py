"""Plans for the smallest files, and the published ones beside them."""
