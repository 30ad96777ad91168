"""Protection of pages and logins: headers, body size, login lockout, two-factor pages.

Start with page_headers.py for pages, or two_factor_pages.py for logins.
This package may import config.protocols, config.env and every app.
"""
