"""The ground layer that everything else uses: errors, console, command lines, files, registry, images, downloads."""
