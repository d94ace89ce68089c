"""Benchmarks on a CPU and on a GPU.

May import: every room but course.
"""
