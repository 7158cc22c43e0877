"""Problems in image folders: found before training where possible, listed where not."""
