"""A user's saved Keras model becomes a net."""
