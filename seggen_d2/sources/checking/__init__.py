"""What is wrong with a dataset, told file by file."""
