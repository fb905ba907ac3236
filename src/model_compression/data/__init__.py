"""What is learned from: where it is fetched, how a user's own is read, and its three splits."""
