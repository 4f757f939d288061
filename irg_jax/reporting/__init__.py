"""Turns a run folder into a page, a sheet of pictures and a file of scores."""
