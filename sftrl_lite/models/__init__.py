"""From a name to a model: tiny and published ones, their tokenizers, pictures, adapters, precision.

Nothing here knows what a task is.
May import: seeds, files, scales, pictures and processes; no other room.
"""
