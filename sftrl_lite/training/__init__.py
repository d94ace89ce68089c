"""The algorithms: episodes with a verifier, PPO and GRPO, SFT, evaluation, and how bases are made.

One subject a module; `rl.py` is the one to begin with.
May import: tasks, models, results.
"""
