"""The live page: a folder of plain files that shows a run without a server."""
