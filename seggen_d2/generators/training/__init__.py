"""How generators are trained: the loop, what is trained, its options, states to resume from."""
