"""What chapters need: their first cell, exercises, and things to play with.

May import: every room but bench.
"""
