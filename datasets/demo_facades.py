"""Drawn facades and their label maps: the paired demo (pix2pix: labels to photo).

Positions are in units of 1/64 of the image, so a scene is the same at every size. What the label map does not show
(light, clouds, the tone of single bricks) has little effect on the photo.
"""
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

SIZES = (64, 128, 256)
DIRECTION = 'BtoA'
CLASSES = ('sky', 'wall', 'roof', 'window', 'door', 'balcony', 'tree', 'ground')
SKY, WALL, ROOF, WINDOW, DOOR, BALCONY, TREE, GROUND = range(8)
# The colors of the CMP facades dataset, from deep blue to dark red.
PALETTE = np.array([(0, 0, 170), (0, 0, 255), (0, 255, 255), (0, 85, 255), (0, 170, 255), (170, 255, 85),
                    (255, 170, 0), (170, 0, 0)], np.uint8)
# Colors depend on what the label map shows: the wall on the number of floors, the roof on its kind.
WALL_COLORS = {2: (205, 158, 108), 3: (188, 104, 78), 4: (172, 122, 112)}
ROOF_COLORS = {'gable': (112, 70, 78), 'hip': (100, 92, 98), 'mansard': (98, 104, 102), 'flat': (116, 106, 106)}
N_VAL = 20


@dataclass
class Canvas:
    """The class of each pixel, and its position (u, v in 0..1) in the object that was painted there last."""
    size: int
    mask: np.ndarray = field(init=False)

    def __post_init__(self):
        line = (np.arange(self.size) + 0.5) * 64 / self.size
        self.x, self.y = np.meshgrid(line, line)
        self.mask = np.zeros((self.size, self.size), np.uint8)
        self.u, self.v = self.x / 64, self.y / 64

    def paint(self, name, region, box):
        """Give the pixels of the boolean `region` a class; `box` = (left, top, right, bottom) sets u, v."""
        left, top, right, bottom = box
        self.mask[region] = name
        self.u[region] = (self.x[region] - left) / (right - left)
        self.v[region] = (self.y[region] - top) / (bottom - top)

    def box(self, left, top, right, bottom):
        return (self.x >= left) & (self.x < right) & (self.y >= top) & (self.y < bottom)

    def disc(self, x, y, radius):
        return (self.x - x) ** 2 + (self.y - y) ** 2 < radius ** 2

    def rectangle(self, name, *box):
        self.paint(name, self.box(*box), box)


def smooth_noise(rng, size, cells=8):
    """(size, size) cloudy noise in about -1..1 that looks the same at every size."""
    grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def masonry(size, tones, period=4):
    """Joints (bool) and tone per stone (-1..1) of masonry with stones 2 * period wide and period high.

    The period is a power of two in pixels, which a network with strided convolutions can reproduce.
    """
    period *= max(1, size // 128)
    y, x = np.mgrid[:size, :size]
    row = y // period
    x = x + (row % 2) * period
    joints = (y % period < max(1, period // 5)) | (x % (2 * period) < max(1, period // 5))
    return joints, tones[row % len(tones), (x // (2 * period)) % len(tones)]


def roof_region(canvas, kind, left, right, top, eaves):
    """Pixels of a roof of this kind, slightly wider than the walls."""
    depth = (canvas.y - top) / (eaves - top)
    half = (right - left) / 2 + 2
    middle = (left + right) / 2
    ridge = {'gable': 0.0, 'hip': 0.55, 'mansard': 0.8, 'flat': 1.0}[kind]
    reach = half * (ridge + (1 - ridge) * np.clip(depth, 0, 1))
    return (depth >= 0) & (depth < 1) & (np.abs(canvas.x - middle) < reach)


def paint_roof(canvas, rng, left, right, eaves):
    kind = rng.choice(list(ROOF_COLORS))
    height = 3.5 if kind == 'flat' else rng.uniform(9, 14)
    chimney = rng.uniform(left + 6, right - 10)
    width = rng.uniform(3, 5)
    if rng.random() < 0.6:
        canvas.rectangle(ROOF, chimney, eaves - height - 2, chimney + width, eaves)
    region = roof_region(canvas, kind, left, right, eaves - height, eaves)
    canvas.paint(ROOF, region, (left - 2, eaves - height, right + 2, eaves))
    return kind


def paint_window(canvas, box, arched):
    left, top, right, bottom = box
    region = canvas.box(*box)
    if arched:
        radius = (right - left) / 2
        region &= (canvas.y > top + radius) | canvas.disc(left + radius, top + radius, radius)
    canvas.paint(WINDOW, region, box)


def paint_floors(canvas, rng, left, right, eaves, ground, floors):
    """Rows of windows, a door on the ground floor, balconies on some floors."""
    columns = int(rng.integers(3, 6))
    pitch, storey = (right - left - 2) / columns, (ground - eaves - 1) / floors
    width, height = pitch * rng.uniform(0.52, 0.64), storey * rng.uniform(0.54, 0.64)
    arched = rng.random() < 0.35
    door = int(rng.integers(columns))
    balconies = rng.random((floors, columns)) < rng.choice([0, 0.35, 1], size=(floors, 1))
    for floor, column in np.ndindex(floors, columns):
        x = left + 1 + (column + 0.5) * pitch
        top = eaves + 1 + floor * storey + (storey - height) * 0.5
        if floor == floors - 1 and column == door:
            reach = min(width * 0.65, 3.6)
            canvas.rectangle(DOOR, x - reach, top - 0.5, x + reach, ground)
            continue
        paint_window(canvas, (x - width / 2, top, x + width / 2, top + height), arched)
        if balconies[floor, column] and floor < floors - 1:
            rail = top + height * 0.6
            canvas.rectangle(BALCONY, x - pitch * 0.46, rail, x + pitch * 0.46, top + height + 1)


def paint_tree(canvas, rng, x, ground):
    height, radius = rng.uniform(13, 24), rng.uniform(4, 6.5)
    box = (x - radius * 1.4, ground - height - radius, x + radius * 1.4, ground + 1.5)
    region = canvas.box(x - 0.9, ground - height, x + 0.9, ground + 1.5)
    for _ in range(5):
        dx, dy = rng.uniform(-0.55, 0.55, 2) * radius
        region |= canvas.disc(x + dx, ground - height + dy, radius * rng.uniform(0.6, 0.9))
    canvas.paint(TREE, region, box)


def layout(rng, size):
    """A facade: (canvas, number of floors, kind of roof)."""
    canvas = Canvas(size)
    ground = rng.uniform(53, 58)
    floors = int(rng.integers(2, 5))
    left, right = rng.uniform(4, 14), rng.uniform(50, 60)
    eaves = ground - floors * rng.uniform(9.5, 11) - 2
    canvas.rectangle(WALL, left, eaves, right, ground)
    kind = paint_roof(canvas, rng, left, right, eaves)
    paint_floors(canvas, rng, left, right, eaves, ground, floors)
    canvas.rectangle(GROUND, 0, ground, 64, 64)
    for side in rng.permutation([left - 2, right + 2])[:rng.integers(0, 3)]:
        paint_tree(canvas, rng, side + rng.uniform(-2, 2), ground)
    return canvas, floors, kind


def shade(factor):
    return np.asarray(factor, np.float32)[..., None]


def paint_materials(canvas, floors, kind, clouds, tones):
    """The color of every pixel for each class, (class, size, size, 3)."""
    size = canvas.size
    u, v = canvas.u, canvas.v
    joints, tone = masonry(size, tones)
    slab_joints, slab_tone = masonry(size, tones, 8)
    unit = np.maximum(64 / size, 0.5)
    across = (canvas.x / unit).astype(int)
    sky = (118, 172, 228) + shade(v) * np.float32((78, 50, 14)) + shade(np.clip(clouds, 0, 1) * 26)
    wall = np.float32(WALL_COLORS[floors]) * shade(1 + 0.06 * tone) + shade(joints * 22) * (1, 1.1, 1.1)
    roof = np.float32(ROOF_COLORS[kind]) * shade(0.88 + 0.08 * tone + 0.14 * ((canvas.y * size // 64) % 4) / 3)
    frame = (np.abs(u - 0.5) > 0.44) | (np.abs(v - 0.5) > 0.46) | ((np.abs(u - 0.5) < 0.04) & (size > 64))
    glint = np.abs(u + 0.6 * v - 0.85) < 0.13
    window = (18, 42, 92) + shade(22 * (1 - v) + 56 * glint) * (0.7, 1, 1.3) + shade(frame * (26 if size == 64 else 70))
    panels = (np.abs(np.abs(u - 0.5) - 0.24) < 0.15) & (np.abs((v * 2) % 1 - 0.5) < 0.33)
    door = np.float32((84, 44, 22)) * shade(1 + 0.22 * panels + 0.1 * (1 - v))
    balcony = np.float32((232, 224, 204)) * shade(1 - 0.15 * ((across % 2) * (v > 0.3)) - 0.05 * v)
    leaves = np.repeat(np.repeat(tones, 4, 0), 4, 1)[np.ix_(np.arange(size) * 64 // size % 32, across[0] % 32)]
    tree = np.float32((62, 128, 40)) * shade(1.2 - 0.3 * u - 0.25 * v + 0.14 * leaves)
    ground = np.float32((152, 148, 142)) * shade(1 + 0.04 * slab_tone - 0.14 * slab_joints - 0.1 * (1 - v))
    return np.stack(np.broadcast_arrays(sky, wall, roof, window, door, balcony, tree, ground))


def shadows(canvas):
    """Brightness of each pixel: light from the left; eaves and balconies cast shadows on the wall below."""
    covers = np.isin(canvas.mask, (ROOF, BALCONY))
    below, step = np.zeros_like(covers), max(1, canvas.size // 64)
    for shift in range(1, 2 * step + 1):
        below[shift:] |= covers[:-shift]
    return 1 - 0.2 * (below & (canvas.mask == WALL)) - 0.08 * (canvas.x / 64 - 0.4) * (canvas.mask != SKY)


def draw(rng, size):
    """(photo, class mask) of one house: uint8 arrays (size, size, 3) and (size, size)."""
    canvas, floors, kind = layout(rng, size)
    light = rng.uniform(0.93, 1.07)
    tones = rng.uniform(-1, 1, (8, 8))
    clouds = smooth_noise(rng, size)
    materials = paint_materials(canvas, floors, kind, clouds, tones)
    photo = np.take_along_axis(materials, canvas.mask[None, ..., None], 0)[0]
    photo = photo * shade(shadows(canvas)) * light + rng.normal(0, 2, (size, size, 1))
    return photo.clip(0, 255).round().astype(np.uint8), canvas.mask


def splits(n_train, n_test):
    return {'train': n_train, 'val': N_VAL, 'test': n_test}


def files(rng, size, split, name, outline=False):
    """The files of one image, {path in the output folder: content}."""
    photo, mask = draw(rng, size)
    return {f'{split}/{name}.png': np.hstack([photo, PALETTE[mask]]), f'truth/masks/{split}/{name}.png': mask}
