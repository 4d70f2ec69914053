"""Files, arrays and recipes become one checked data set here."""
