"""What is learned from: where it is fetched, and its three splits."""
