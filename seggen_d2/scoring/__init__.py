"""What segmenters and other networks trained on real data say of banks: quality figures as sidecars, and labels for images without any."""
