"""The ground that everything stands on: errors, console, command lines, files, registry, images, downloads."""
