"""Small charts as SVG, drawn here: no script, no style attribute, and a sentence for who does not see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

from markupsafe import Markup

_WIDTH: Final = 300
_HEIGHT: Final = 64
_TOP: Final = 6

Value = float | None


def chart(
    label: str,
    lines: Sequence[tuple[str, Sequence[Value]]],
    *,
    shown: Callable[[float], str],
    most: int,
    over: str,
) -> Markup:
    """Lines over the same time, the newest value at the right; `most` points fit, `over` says of which time they are.

    A line is a name and its values, None where nothing is known. The first is filled.
    """
    top = max((value for _, values in lines for value in values if value is not None), default=0.0) or 1.0
    drawn = [_line(index, values, top, most) for index, (_, values) in enumerate(lines)]
    words = _words(label, lines, shown, over)
    grid = Markup("").join(
        Markup('<line class="grid" x1="0" x2="{}" y1="{}" y2="{}"/>').format(_WIDTH, y, y)
        for y in (_TOP, (_HEIGHT + _TOP) / 2, _HEIGHT - 0.5)
    )
    return Markup(
        '<svg class="chart" role="img" aria-label="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}{}</svg>'
    ).format(words, _WIDTH, _HEIGHT, grid, Markup("").join(drawn))


def bar(share: float) -> Markup:
    """A bar as long as `share` of the whole; the figure stands beside it."""
    width = round(max(0.0, min(1.0, share)) * 100, 1)
    return Markup(
        '<svg class="bar" aria-hidden="true" viewBox="0 0 100 6" preserveAspectRatio="none">'
        '<rect class="rest" width="100" height="6"/><rect class="part" width="{}" height="6"/></svg>'
    ).format(width)


def _line(index: int, values: Sequence[Value], top: float, most: int) -> Markup:
    """The parts between which nothing is known."""
    step = _WIDTH / max(1, most - 1)
    first = most - len(values)
    points = [(round((first + at) * step, 1), value) for at, value in enumerate(values)]
    drawn = Markup("")
    for is_known, part in groupby(points, key=lambda point: point[1] is not None):
        if is_known:
            drawn += _part(index, [(x, _y(value, top)) for x, value in part if value is not None])
    return drawn


def _part(index: int, points: list[tuple[float, float]]) -> Markup:
    if len(points) == 1:
        points = [(points[0][0] - 1, points[0][1]), *points]
    path = "M" + "L".join(f"{x} {y}" for x, y in points)
    line = Markup('<path class="line line-{}" d="{}"/>').format(index, path)
    if index:
        return line
    area = f"{path}L{points[-1][0]} {_HEIGHT}L{points[0][0]} {_HEIGHT}Z"
    return Markup('<path class="area" d="{}"/>').format(area) + line


def _y(value: float, top: float) -> float:
    return round(_HEIGHT - 1 - value / top * (_HEIGHT - 1 - _TOP), 1)


def _words(label: str, lines: Sequence[tuple[str, Sequence[Value]]], shown: Callable[[float], str], over: str) -> str:
    said = []
    for name, values in lines:
        known = [value for value in values if value is not None]
        if not known:
            said.append(f"{name}: nothing yet")
            continue
        said.append(f"{name}: now {shown(known[-1])}, lowest {shown(min(known))}, highest {shown(max(known))}")
    return f"{label}, {over}. {'; '.join(said)}"
