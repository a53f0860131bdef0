"""How good generators are: measured along their training, and what their VAE keeps of masks."""
