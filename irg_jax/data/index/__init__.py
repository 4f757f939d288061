"""What is known of every record without reading it: lengths, image sizes, checksums, as memory-mapped arrays."""
