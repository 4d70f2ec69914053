"""From files, arrays and recipes to one checked data set."""
