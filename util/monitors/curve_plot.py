"""Curves as a PNG, drawn with Pillow, so that no plotting library is needed."""
import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

SIZE = (1200, 700)
SCALE = 2           # drawn at twice the size, then reduced: smooth lines
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 50, 60
COLORS = ('#1f5fb8', '#e07b10', '#1d8a5b', '#c4126a', '#a58f00', '#7a3fd0', '#10a5d0', '#c0201a', '#7cb518', '#e36bd0',
           '#6b4423', '#5a6270')    # of losses; easy to distinguish, also when lightened on a dark page
DASHES = (0, 14, 5, 24)     # length of the dashes of each run in pixels; 0: solid
MARKERS = ((24, 0), (4, 45), (3, 0), (4, 0))    # of isolated points, (corners, degrees): circle, square, ...
INK, SOFT, LINE = '#1d1f23', '#6a6f78', '#dddfe3'


@dataclass
class Series:
    """One curve; None in `y` is a gap. `hue` selects its color, `line` its dashes and marker."""

    label: str
    x: list
    y: list
    epoch: list
    hue: int = 0
    line: int = 0


def smoothed(values: list, width: int) -> list:
    """The mean of each value and up to `width` - 1 before it; gaps stay gaps."""
    found = []
    for index, value in enumerate(values):
        near = [other for other in values[max(0, index - width + 1):index + 1] if other is not None]
        found.append(None if value is None else sum(near) / len(near))
    return found


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers within an interval."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= raw), 10 * power)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Ticks of a log scale, as exponents."""
    factors = (1, 2, 5) if high - low < 3 else (1,)
    found = [power + math.log10(factor) for power in range(math.floor(low), math.ceil(high)) for factor in factors]
    return [tick for tick in found if low <= tick <= high]


class Plot:
    """The image being drawn."""

    def __init__(self, series: list[Series], log: bool):
        self.series, self.log = series, log
        self.image = Image.new('RGB', (SIZE[0] * SCALE, SIZE[1] * SCALE), 'white')
        self.pen = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(14 * SCALE)
        self.bottom = SIZE[1] - BOTTOM - 24 * self.legend_rows()
        xs = [x for one in series for x in one.x]
        ys = [self.level(y) for one in series for y in one.y if self.shown(y)]
        self.x_range = (0, max(xs, default=1) or 1)
        low, high = min(ys, default=0), max(ys, default=1)
        low = low if log else min(0.0, low)
        margin = 0.05 * max(high - low, abs(high) / 1000) or 0.5
        self.y_range = (low - margin if low else low, high + margin)

    def shown(self, y) -> bool:
        return y is not None and (not self.log or y > 0)

    def level(self, y: float) -> float:
        return math.log10(y) if self.log else y

    def at(self, x: float, level: float) -> tuple[float, float]:
        """A point in pixels."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        right = SIZE[0] - RIGHT
        return (SCALE * (LEFT + (x - x0) / (x1 - x0) * (right - LEFT)),
                SCALE * (self.bottom - (level - y0) / (y1 - y0) * (self.bottom - TOP)))

    def text(self, place, text: str, anchor: str, fill=SOFT):
        self.pen.text(place, text, fill=fill, font=self.font, anchor=anchor)

    def axes(self, title: str):
        for tick in decades(*self.y_range) if self.log else ticks(*self.y_range, 6):
            left, y = self.at(0, tick)
            self.pen.line([(left, y), (self.at(self.x_range[1], tick)[0], y)], LINE, SCALE)
            self.text((left - 8 * SCALE, y), f'{10 ** tick if self.log else tick:.4g}', 'rm')
        for tick in filter(float.is_integer, map(float, ticks(*self.x_range, 8))):
            x, y = self.at(tick, self.y_range[0])
            self.text((x, y + 6 * SCALE), f'{tick:,.0f}', 'mt')
        self.text((SCALE * SIZE[0] / 2, SCALE * (self.bottom + 28)), 'images seen', 'mt')
        self.text((SCALE * LEFT, SCALE * 16), title, 'lt', INK)

    def curve(self, one: Series):
        color, pieces = COLORS[one.hue % len(COLORS)], [[]]
        for x, y in zip(one.x, one.y, strict=True):
            if self.shown(y):
                pieces[-1].append(self.at(x, self.level(y)))
            elif pieces[-1]:
                pieces.append([])
        for points in filter(None, pieces):
            if len(points) == 1:
                self.marker(points[0], one)
            for piece in dashed(points, SCALE * DASHES[one.line % len(DASHES)]):
                self.pen.line(piece, color, 2 * SCALE, joint='curve')

    def marker(self, place, one: Series):
        """An isolated point, in a shape for each run: there is no line that could be dashed."""
        corners, degrees = MARKERS[one.line % len(MARKERS)]
        angles = [math.radians(360 * corner / corners + degrees) for corner in range(corners)]
        outline = [(place[0] + 6 * SCALE * math.sin(a), place[1] - 6 * SCALE * math.cos(a)) for a in angles]
        self.pen.polygon(outline, COLORS[one.hue % len(COLORS)])

    def alone(self, one: Series) -> bool:
        """Whether some point of a curve has no neighbor."""
        gaps = [True, *(not self.shown(y) for y in one.y), True]
        return any(left and right and not here for left, here, right in zip(gaps, gaps[1:], gaps[2:], strict=False))

    def places(self):
        """(series, left, row) of the entries of the legend, in rows as wide as the image."""
        left, row = LEFT, 0
        for one in self.series:
            width = 57 + self.font.getlength(one.label) / SCALE
            if left > LEFT and left + width > SIZE[0]:
                left, row = LEFT, row + 1
            yield one, left, row
            left += width

    def legend_rows(self) -> int:
        return 1 + max((row for _, _, row in self.places()), default=0)

    def legend(self):
        for one, left, row in self.places():
            y = SCALE * (self.bottom + 62 + 24 * row)
            sample = [(SCALE * left, y), (SCALE * (left + 36), y)]
            for piece in dashed(sample, SCALE * DASHES[one.line % len(DASHES)] / 2):
                self.pen.line(piece, COLORS[one.hue % len(COLORS)], 3 * SCALE)
            if self.alone(one):
                self.marker((SCALE * (left + 18), y), one)
            self.text((SCALE * (left + 42), y), one.label, 'lm', INK)


def dashed(points: list, length: float) -> list[list]:
    """Pieces of about `length` pixels of a line, with gaps of that length; the whole line for 0."""
    if not length:
        return [points]
    pieces = [[points[0]]]
    drawing = True
    walked = 0.0
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        distance, done = math.hypot(x1 - x0, y1 - y0), 0.0
        while distance - done > length - walked:
            done += length - walked
            place = (x0 + (x1 - x0) * done / distance, y0 + (y1 - y0) * done / distance)
            pieces[-1].append(place)
            drawing, walked = not drawing, 0.0
            pieces.append([place])
        walked += distance - done
        pieces[-1].append((x1, y1))
    return pieces[::2]


def draw(series: list[Series], title: str, log: bool = False) -> Image.Image:
    """An image of 1200 x 700 with axes and a legend."""
    plot = Plot(series, log)
    plot.axes(title)
    for one in series:
        plot.curve(one)
    plot.legend()
    return plot.image.resize(SIZE, Image.Resampling.BOX)
