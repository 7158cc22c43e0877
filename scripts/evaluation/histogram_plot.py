"""A plot of color distributions as in figure 7 of pix2pix: log probability of L, a and b, results and real images."""
import math
from pathlib import Path

from util.files import atomic_write

WIDTH, HEIGHT, MARGIN = 320, 240, 45
LOWEST = -6             # exponent of the smallest probability that is drawn
COLORS = {'results': '#1f5fb8', 'real': '#1d1f23'}


def panel(channel: str, middles, fakes, reals, left: int) -> list[str]:
    """The lines of an SVG for one channel."""
    def place(x, probability):
        share = (x - middles[0]) / (middles[-1] - middles[0])
        level = max(LOWEST, math.log10(probability)) / LOWEST if probability > 0 else 1
        return f'{left + MARGIN + share * WIDTH:.1f},{MARGIN + level * HEIGHT:.1f}'
    found = [f'<rect x="{left + MARGIN}" y="{MARGIN}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>',
             f'<text x="{left + MARGIN}" y="{MARGIN - 10}">{channel}: intersection '
             f'{sum(map(min, fakes, reals)):.3f}</text>']
    for number, (name, values) in enumerate((('results', fakes), ('real', reals))):
        points = ' '.join(place(x, p) for x, p in zip(middles, values, strict=True))
        found += [f'<polyline points="{points}" fill="none" stroke="{COLORS[name]}" stroke-width="1.5"/>',
                  f'<text x="{left + MARGIN + 8}" y="{MARGIN + HEIGHT - 26 + 18 * number}" fill="{COLORS[name]}">{name}'
                  '</text>']
    found += [f'<text x="{left + MARGIN - 4}" y="{MARGIN + 5 + HEIGHT * power / LOWEST:.0f}" text-anchor="end">'
              f'1e{power}</text>' for power in (0, LOWEST // 2, LOWEST)]
    found += [f'<text x="{left + MARGIN + x}" y="{MARGIN + HEIGHT + 18}" text-anchor="middle">{value:.0f}</text>'
              for x, value in ((0, middles[0]), (WIDTH, middles[-1]))]
    return found


def write_svg(path: Path, distributions: dict):
    """`distributions` is what `Histogram.distributions` returns."""
    lines = [line for number, (channel, parts) in enumerate(distributions.items())
             for line in panel(channel, *(part.tolist() for part in parts), number * (WIDTH + 2 * MARGIN))]
    size = f'width="{3 * (WIDTH + 2 * MARGIN)}" height="{HEIGHT + 2 * MARGIN}"'
    with atomic_write(path) as file:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">'
        file.write('\n'.join([head, '<rect width="100%" height="100%" fill="#fff"/>', *lines, '</svg>', '']))
