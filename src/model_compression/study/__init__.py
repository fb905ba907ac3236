"""Recipes, and how they become records."""
