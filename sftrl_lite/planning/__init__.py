"""Memory and time of a run before a weight is loaded, from the real functions on fake tensors.

May import: training and what it may import.
"""
