"""Measured, not guessed: one module per `./bench NAME`, each with a peer or a floor in the same run."""
