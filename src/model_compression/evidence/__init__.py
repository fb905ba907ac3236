"""Records become statistics, tables, pictures and sentences."""
