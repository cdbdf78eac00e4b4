"""What writes the pages of the docs that say what the code says already."""
