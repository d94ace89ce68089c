#!/bin/sh
# What a chapter's first cell runs on Colab and Kaggle, beside its fresh clone of this repository.
# The package is linked to where the kernel looks for it. These platforms lack trl, and have a
# transformers and a peft that are too old (tests/test_hosted.py); where a GPU is there, four-bit
# weights need bitsandbytes. Whatever else these need may be renewed, but the torch and the numpy
# that are there stay.
cd "$(dirname "$0")" || exit 1
ln -sfn "$PWD/sftrl_lite" ../sftrl_lite
python - >kept.txt <<'END'
from importlib.metadata import version
for name in ("torch", "numpy"):
    print(f"{name}=={version(name)}")
END
set -- 'transformers>=5.18,<6' 'trl>=1.16,<2' 'peft>=0.20,<1'
if nvidia-smi -L >/dev/null 2>&1; then
	set -- "$@" 'bitsandbytes>=0.46.1,<1'
fi
python -m pip install -q -c kept.txt "$@"
