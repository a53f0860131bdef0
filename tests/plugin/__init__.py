"""A package, so that its modules may carry the names of those one folder up."""
