"""Tables as text: their encoding and dialect, what the cells of a column are, and what they become."""
