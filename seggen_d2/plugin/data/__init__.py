"""Datasets and banks in Detectron2's catalogs, and the mapper."""
