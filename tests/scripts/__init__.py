"""The modules of static/js by themselves, in a real browser and without a server."""
