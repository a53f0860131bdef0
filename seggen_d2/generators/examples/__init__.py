"""What generators are trained on: labelled pictures as latents and embeddings, streamed from disk."""
