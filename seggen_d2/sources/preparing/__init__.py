"""From data as people have it to what training reads."""
