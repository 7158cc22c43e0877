"""Installation on a fresh machine. Standard library only."""
