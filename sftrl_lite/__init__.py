import logging

# Says on every import that a CPU has no fast four-bit product; the slow one serves the tests.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
