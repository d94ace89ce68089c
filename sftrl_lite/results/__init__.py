"""What was measured and what it says: intervals, the ledger, claims, figures, tables, pages.

Nothing here trains or loads a model.
May import: seeds, files, scales, pictures and processes; no other room.
"""
