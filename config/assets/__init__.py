"""Static files and public responses: hashed names, joined scripts and styles, gzip, the cache of pages.

Start with static_files.py, which `serve` calls at each start.
This package may import config.apps and the packages below; config.settings refers to it by dotted names only.
"""
