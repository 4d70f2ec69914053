"""Readers of tables: columns by name."""
