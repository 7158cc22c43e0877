"""The live page: plain files that show a run in a browser, without a server."""
