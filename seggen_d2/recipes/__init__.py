"""Recipes: graphs of tool commands and their artefacts, as data. This room imports neither wing."""
