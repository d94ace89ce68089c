"""The claims about streets in text, put to a language model that nobody made for the course."""

from __future__ import annotations

import pandas as pd

from sftrl_lite.results.claims import bars, controls, judge
from sftrl_lite.results.intervals import Tested
from sftrl_lite.results.tables import in_words

PREFIX = "small-virl-l-"  # of its experiments
BAR = (9, f"{PREFIX}headline", "ood-rule", "per_step")  # as in ``claims.BARS``
CLAIMS = [
    *bars("streets in text, rule", *BAR),
    controls("streets in text", 9, PREFIX, "per_step")[0],  # random rewards
]
NAME = "SmolLM2-135M"
AT = "after 16 steps each"  # when its runs are compared, not at equal compute


def with_seeds(found: Tested | None) -> str:
    """A difference in points, its interval, and the number of seeds."""
    if not found:
        return "–"
    return f"{in_words(found)} points, {found.n} seed{'s' if found.n > 1 else ''}"


def with_pretrained(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The table of claims with a column for SmolLM2-135M: difference, interval, seeds.

    Args:
        table: as ``claims_table`` returns it.
        rows: of the ledger.

    A dash where the claim was not put to it, or is not recorded.
    """
    told = {claim.says: with_seeds(judge(claim, rows)[0]) for claim in CLAIMS}
    column = [told.get(says, "–") for says in table["claim"]]
    before = [name for name in table.columns if name != "chapter"]
    return table.assign(**{NAME: column})[[*before, NAME, "chapter"]]
