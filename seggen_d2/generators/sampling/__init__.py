"""How generators are sampled: noise in, images out."""
