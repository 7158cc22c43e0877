"""Problems in image folders, found before training starts."""
