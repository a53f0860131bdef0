"""Will a bank help? Statistics and short probes on the real training set, before any long training.

Importing the room imports neither torch nor transformers; its modules do.
"""
