"""The command for a model of your own."""
