"""Sequence packing: the token cost of a conversation, which samples share a row, and the arrays of that row."""
