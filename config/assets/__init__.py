"""Static files and compression: hashed names, joined scripts, gzip for public responses.

Start with static_files.py, which `serve` calls at each start.
May import config.apps and the packages below; config.settings refers to it by dotted names only.
"""
