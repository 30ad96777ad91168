"""The HTTP protocol of connections on uvicorn, and all code that depends on uvicorn's internals.

Start with connection.py, which builds on read_timeouts.py, which builds on http_framing.py.
private_names.py lists what we use of uvicorn. May import the modules of config.protocols beside this package.
"""
