"""Nets by name, how they are trained and taught, and the order of their channels."""
