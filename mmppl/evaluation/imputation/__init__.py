"""How well single cells that were hidden are imputed."""
