"""Experiments: a run with its folder, checkpoints and rows, the Init stage, sweeps, the headline.

May import: planning and what it may import.
"""
