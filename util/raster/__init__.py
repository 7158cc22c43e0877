"""Images of any depth, bands and layout: what a file holds, reading it as an array, writing it, and value ranges."""
