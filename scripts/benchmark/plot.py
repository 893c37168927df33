"""Time against length as an SVG file, both axes logarithmic. Plain text, no plotting library."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 460, 380  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 64, 14, 34, 48
COLOURS = {"plain": "#444444", "quick": "#0072b2", "full": "#d55e00", "eager": "#cc79a7", "two_pass": "#009e73",
           "sdpa": "#999999"}


def svg(panels: list[tuple[str, dict[str, list[tuple[float, float]]]]], labels: dict[str, str]) -> str:
    """`panels`: (title, {series: [(length, seconds), ...]})."""
    width = WIDTH * max(1, len(panels))
    names = [name for name in COLOURS if any(series.get(name) for _, series in panels)]
    height = HEIGHT + 22 * ((len(names) + 2) // 3) + 8
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
             f'height="{height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="white"/>']
    for number, (title, series) in enumerate(panels):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *panel(title, series), "</g>"]
    for number, name in enumerate(names):
        x, y = LEFT + number % 3 * 130, HEIGHT + 14 + 22 * (number // 3)
        parts += [f'<line x1="{x}" y1="{y}" x2="{x + 22}" y2="{y}" stroke="{COLOURS[name]}" stroke-width="2"/>',
                  f'<text x="{x + 28}" y="{y + 4}">{escape(labels.get(name, name))}</text>']
    return "\n".join([*parts, "</svg>", ""])


def panel(title: str, series: dict[str, list[tuple[float, float]]]) -> list[str]:
    points = [point for line in series.values() for point in line]
    if not points:
        return []
    x_low, x_high = (math.log2(f(x for x, _ in points)) for f in (min, max))
    x_high = max(x_high, x_low + 1)
    y_low = math.floor(math.log10(min(y for _, y in points)))
    y_high = max(math.ceil(math.log10(max(y for _, y in points))), y_low + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return (LEFT + (math.log2(x) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - (math.log10(y) - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM))

    parts = [f'<text x="{LEFT}" y="20" font-weight="bold">{escape(title)}</text>',
             f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">tokens</text>',
             f'<text transform="translate(16 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">seconds</text>']
    for exponent in range(math.ceil(x_low), math.floor(x_high) + 1):
        x, y = at(2**exponent, 10**y_low)
        parts += [f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{y:.1f}" stroke="#dddddd"/>',
                  f'<text x="{x:.1f}" y="{y + 16:.1f}" text-anchor="middle">{2**exponent}</text>']
    for exponent in range(y_low, y_high + 1):
        x, y = at(2**x_low, 10.0**exponent)
        parts += [f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>',
                  f'<text x="{x - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{10.0**exponent:g}</text>']
    for name, line in series.items():
        path = [at(*point) for point in sorted(line)]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[name]}"/>' for x, y in path]
    return parts
