"""Options of the command line, made of a run's fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from sftrl_lite.runs.run_config import Run
from sftrl_lite.scales import Scale, get_scale


def takes(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options that are fields of a ``Run``: all of them, or these.

    Name, type, default and help are written in ``Run`` alone. The command gets them as keyword
    arguments, beside options of its own, which go before a field of the same name. A list is
    written with commas: 1,3,5.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        known = inspect.signature(command, eval_str=True).parameters.items()
        own = {name: p for name, p in known if p.kind is not p.VAR_KEYWORD}
        kinds, taken = get_type_hints(Run), {}
        for field in fields(Run):
            if field.name in own or (names and field.name not in names):
                continue
            kind, default = kinds[field.name], field.default
            if kind is Scale:
                kind = str
            elif isinstance(default, tuple):
                kind, default = str, ",".join(map(str, default))
            flag = "--" + field.name.replace("_", "-")
            envvar = "SFTRL_SCALE" if field.name == "scale" else None
            # a wrong scale is said at once, before torch is imported
            check = (lambda name: get_scale(name).name) if field.name == "scale" else None
            option = typer.Option(flag, envvar=envvar, callback=check, help=field.metadata["help"])
            taken[field.name] = inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default,
                annotation=Annotated[kind, option],
            )
        given = [p.replace(kind=p.KEYWORD_ONLY) for p in own.values()]
        signature = inspect.Signature([*taken.values(), *given])
        command.__signature__ = signature  # type: ignore[attr-defined]  # what inspect looks for
        command.__annotations__ = {p.name: p.annotation for p in [*taken.values(), *given]}
        return command

    return decorate


def listed(**given: Any) -> dict[str, Any]:
    """The options with lists as ``Run`` has them: "1,3,5" becomes (1, 3, 5).

    Raises:
        ValueError: a list of numbers holds something else.
    """
    kinds = get_type_hints(Run)
    for name, text in given.items():
        if get_origin(kinds[name]) is tuple:
            kind = get_args(kinds[name])[0]
            try:
                given[name] = tuple(kind(part) for part in text.split(",") if text)
            except ValueError:
                wrong = f"--{name.replace('_', '-')} is {text!r}"
                raise ValueError(f"{wrong}; write it as 1,3,5") from None
    return given
