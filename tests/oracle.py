"""A second, independent judge: Fraction and Python's own parser.

Only for formulas that the tests made themselves, never for text from elsewhere.
"""

import ast
import operator
from fractions import Fraction

from hypothesis import strategies as st

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def compute(formula: str) -> Fraction | None:
    """Exact value; None for a division by zero."""

    def walk(node):
        if isinstance(node, ast.Constant):
            return Fraction(node.value)
        if isinstance(node, ast.UnaryOp):
            return -walk(node.operand)
        return OPERATORS[type(node.op)](walk(node.left), walk(node.right))

    try:
        return walk(ast.parse(formula, mode="eval").body)
    except ZeroDivisionError:
        return None


def numbers_in(formula: str) -> list[int]:
    """The numbers of a formula, sorted."""
    nodes = ast.walk(ast.parse(formula, mode="eval"))
    return sorted(node.value for node in nodes if isinstance(node, ast.Constant))


def judge(formula: str, numbers: tuple[int, ...], target: int = 24) -> str:
    """The kind that the verifier must give for a well-formed formula."""
    if numbers_in(formula) != sorted(numbers):
        return "wrong_numbers"
    value = compute(formula)
    if value is None:
        return "illegal"
    return "solved" if value == target else "wrong_value"


def joined(parts):
    left, sign, right, wrap, space = parts
    text = f"{left}{space}{sign}{space}{right}"
    return {"plain": text, "wrap": f"({text})", "minus": f"(-{text})"}[wrap]


FORMULAS = st.recursive(
    st.integers(1, 13).map(str),
    lambda inner: st.tuples(
        inner,
        st.sampled_from("+-*/"),
        inner,
        st.sampled_from(["plain", "plain", "wrap", "wrap", "minus"]),
        st.sampled_from(["", " "]),
    ).map(joined),
    max_leaves=5,
).filter(lambda text: len(text) <= 200)
