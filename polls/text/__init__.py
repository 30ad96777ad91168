"""Text in and out: cleaning what people write, timestamps, percentages, CSV files, and strict JSON.

Start with `plain_text.py`. All functions are pure; only `csv_download.py` knows of HTTP.
This package may import Django and the standard library, and nothing of ours.
"""
