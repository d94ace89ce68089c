"""What is asked, how it is shown, and who judges it: cards and streets, in text and in pictures.

Plain Python, numpy and Pillow; nothing here needs torch.
May import: seeds, files, scales, pictures and processes; no other room.
"""
