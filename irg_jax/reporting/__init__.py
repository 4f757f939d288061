"""Turns a run folder into a page, a sheet of images and a file of scores."""
