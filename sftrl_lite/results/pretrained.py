"""The claims about streets in text, put to a language model that nobody made for the course."""

from __future__ import annotations

import pandas as pd

from sftrl_lite.results.claims import bars, controls, judge
from sftrl_lite.results.tables import in_words

PREFIX = "small-virl-l-"  # of its experiments
BAR = (9, f"{PREFIX}headline", "ood-rule", "per_step")  # as in ``claims.BARS``
CLAIMS = [
    *bars("streets in text, rule", *BAR),
    controls("streets in text", 9, PREFIX, "per_step")[0],  # random rewards
]
NAME = "SmolLM2-135M"


def with_pretrained(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The table of claims with a column for SmolLM2-135M: difference, interval, seeds.

    Args:
        table: as ``claims_table`` returns it.
        rows: of the ledger.

    A dash where the claim was not put to it, or is not recorded.
    """
    told = {}
    for claim in CLAIMS:
        found, _ = judge(claim, rows)
        told[claim.says] = f"{in_words(found)} points, {found.n} seeds" if found else "–"
    column = [told.get(says, "–") for says in table["claim"]]
    before = [name for name in table.columns if name != "chapter"]
    return table.assign(**{NAME: column})[[*before, NAME, "chapter"]]
