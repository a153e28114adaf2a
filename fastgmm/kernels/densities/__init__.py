"""How each form of density takes part in a pass: the six steps, for few columns and for many."""
