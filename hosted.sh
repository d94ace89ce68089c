#!/bin/sh
# What a chapter's first cell runs on Colab and Kaggle, beside its fresh clone of this repository.
# The package is linked to where the kernel looks for it. Of what the course needs, these
# platforms lack trl only: tests/test_hosted.py. No dependency is installed with it, so
# nothing that is there can change, torch and numpy least of all.
cd "$(dirname "$0")" || exit 1
ln -sfn "$PWD/sftrl_lite" ../sftrl_lite
python -m pip install -q --no-deps 'trl>=1.0,<2'
