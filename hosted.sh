#!/bin/sh
# What a chapter's first cell runs on Colab and Kaggle, beside its fresh clone of this repository.
# These platforms lack trl, and have a transformers and a peft that are too old. They are installed
# at the tested versions, with what transformers looks for when it is imported, and with nothing
# else: a package that a kernel has in use (pandas and the pyarrow below it, numpy, torch) must not
# change under it (tests/test_hosted.py). Where a GPU is there, four-bit weights need bitsandbytes.
cd "$(dirname "$0")" || exit 1
grep -v '^huggingface_hub==' constraints.txt >tested.txt # what else is there wants one below 2
set -- transformers trl peft tokenizers safetensors hf-xet 'huggingface_hub>=1.31,<2'
if nvidia-smi -L >/dev/null 2>&1; then
	set -- "$@" bitsandbytes
fi
# The package is linked to where the kernel looks for it, last: the first cell tries again until then
python -m pip install -q --no-deps -c tested.txt "$@" && ln -sfn "$PWD/sftrl_lite" ../sftrl_lite
