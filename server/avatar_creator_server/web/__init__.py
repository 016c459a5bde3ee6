"""The web port of a server: the API for browsers, the page and the pictures, over HTTP.

`application.py` has the way of a request, and says how to add a handler.
"""
