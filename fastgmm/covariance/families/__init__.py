"""The families: one stateless module each, which know nothing of each other."""
