"""How long a fit trains: steps and batches by a rule, the rows that choose the number of steps, and the phases."""
