"""A mixture with parameters, however it came by them: questions to it, and where it is kept."""
