"""Backbones pre-trained on captioned pictures without labels: they learn to tell which words a picture's captions hold.

Source: Joulin et al., "Learning visual features from large weakly supervised data", arXiv 1511.02251.
"""
