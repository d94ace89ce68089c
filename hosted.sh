#!/bin/sh
# What a chapter's first cell runs on Colab and Kaggle, beside its fresh clone of this repository.
# The package is linked to where the kernel looks for it. These platforms lack trl and have an
# older transformers (tests/test_hosted.py). Whatever else these two need may be renewed, but
# the torch and the numpy that are there stay.
cd "$(dirname "$0")" || exit 1
ln -sfn "$PWD/sftrl_lite" ../sftrl_lite
python - >kept.txt <<'END'
from importlib.metadata import version
for name in ("torch", "numpy"):
    print(f"{name}=={version(name)}")
END
python -m pip install -q -c kept.txt 'transformers>=5.18,<6' 'trl>=1.16,<2'
