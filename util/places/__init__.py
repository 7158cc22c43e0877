"""Where image files are: very many in folders, or in tar shards here or in object storage. Finding and opening them."""
