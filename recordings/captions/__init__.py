"""Captions that people add to a recording: a file for each language, read, and written anew before anybody gets it."""
