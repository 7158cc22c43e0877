"""Drawn street scenes by day and by night: the unpaired demo (CycleGAN: day to night).

Windows are the darkest objects by day and the brightest by night, red roofs become blue, and the sky is no longer
brighter than the hills. No color transform can do this: the network has to recognize objects.
The two training folders show different scenes. Every scene is drawn by day and by night; for the test folders the
other version is saved as ground truth.
"""
import numpy as np
from demo_facades import Canvas, masonry, shade, smooth_noise

SIZES = (64, 128, 256)
DIRECTION = 'AtoB'
CLASSES = ('sky', 'hill', 'grass', 'road', 'wall', 'roof', 'window', 'tree')
SKY, HILL, GRASS, ROAD, WALL, ROOF, WINDOW, TREE = range(8)
PALETTE = np.array([(120, 180, 235), (150, 130, 190), (120, 190, 90), (120, 120, 120), (225, 190, 150),
                    (190, 70, 60), (250, 220, 90), (30, 110, 50)], np.uint8)
DAY = np.float32([(132, 186, 236), (136, 168, 120), (112, 166, 72), (140, 134, 132), (196, 160, 122),
                  (176, 78, 58), (22, 34, 98), (52, 104, 46)])
NIGHT = np.float32([(16, 20, 54), (30, 26, 60), (20, 42, 44), (36, 44, 58), (70, 44, 50),
                    (34, 46, 82), (246, 200, 104), (8, 20, 18)])


def paint_tree(canvas, rng, x, base):
    """A round or a pointed tree."""
    height = rng.uniform(9, 17)
    radius = rng.uniform(3, 5)
    region = canvas.box(x - 0.8, base - height * 0.6, x + 0.8, base)
    if rng.random() < 0.4:
        depth = (canvas.y - base + height + radius) / (height + radius - 3)
        region |= (depth > 0) & (depth < 1) & (np.abs(canvas.x - x) < radius * depth)
    else:
        for _ in range(4):
            dx, dy = rng.uniform(-0.5, 0.5, 2) * radius
            region |= canvas.disc(x + dx, base - height + dy, radius * rng.uniform(0.7, 1))
    canvas.paint(TREE, region, (x - radius * 1.4, base - height - radius, x + radius * 1.4, base))


def paint_house(canvas, rng, left, right, base):
    """Walls, a roof and one to three rows of windows."""
    floors = int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))
    columns = int(rng.choice([1, 2, 3], p=[0.3, 0.5, 0.2]))
    eaves = base - floors * rng.uniform(8, 9) - 1
    canvas.rectangle(WALL, left, eaves, right, base)
    peak = eaves - rng.uniform(6, 9)
    ridge = rng.choice([0.0, 0.5, 0.75])
    depth = (canvas.y - peak) / (eaves - peak)
    reach = ((right - left) / 2 + 1.5) * (ridge + (1 - ridge) * depth)
    region = (depth >= 0) & (depth < 1) & (np.abs(canvas.x - (left + right) / 2) < reach)
    canvas.paint(ROOF, region, (left - 1.5, peak, right + 1.5, eaves))
    pitch, storey = (right - left) / columns, (base - eaves) / floors
    width, height = min(pitch * rng.uniform(0.5, 0.6), 5.5), storey * rng.uniform(0.5, 0.6)
    for floor, column in np.ndindex(floors, columns):
        x, y = left + (column + 0.5) * pitch, eaves + (floor + 0.5) * storey
        canvas.rectangle(WINDOW, x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def layout(rng, size):
    """A street: (canvas, orb), where orb is 1 on the sun or moon and fades to 0 around it."""
    canvas = Canvas(size)
    frequencies = rng.uniform((0.06, 0.14), (0.11, 0.24))
    phases = rng.uniform(0, 6.3, 2)
    heights = rng.uniform((2, 0.5), (4, 1.5))
    ridge = rng.uniform(20, 34) + sum(height * np.sin(frequency * canvas.x + phase) for frequency, phase, height
                                      in zip(frequencies, phases, heights, strict=True))
    verge = rng.uniform(39, 46)
    road = verge + rng.uniform(8, 12)
    canvas.mask[canvas.y > ridge] = HILL
    canvas.mask[canvas.y > verge] = GRASS
    canvas.rectangle(ROAD, 0, road, 64, 64)
    middle = rng.uniform(26, 38)
    for x in rng.permutation([3, middle, 61])[:2]:
        paint_tree(canvas, rng, x + rng.uniform(-1, 1), verge + 2)
    paint_house(canvas, rng, rng.uniform(3, 10), middle - rng.uniform(2, 6), verge + rng.uniform(3, 6))
    paint_house(canvas, rng, middle + rng.uniform(2, 6), rng.uniform(54, 61), verge + rng.uniform(3, 6))
    if rng.random() < 0.7:
        paint_tree(canvas, rng, rng.choice([3, middle, 61]) + rng.uniform(-2, 2), road - 1)
    x, y = rng.uniform(8, 56), rng.uniform(5, 10)
    return canvas, np.clip(3.2 - np.hypot(canvas.x - x, canvas.y - y), 0, 1)


def texture(canvas, tones):
    """Brightness of the objects, the same by day and by night."""
    joints, tone = masonry(canvas.size, tones)
    factor = np.ones(canvas.mask.shape)
    tiles = 0.88 + 0.16 * ((canvas.y * canvas.size // 64) % 4) / 3
    speckle = np.repeat(np.repeat(tones, 8, 0), 8, 1)
    speckle = speckle[np.ix_(*[np.arange(canvas.size) * 64 // canvas.size] * 2)]
    for name, value in ((WALL, 1 + 0.04 * tone - 0.07 * joints), (ROOF, tiles + 0.03 * tone),
                        (TREE, 1.15 - 0.3 * canvas.v + 0.08 * speckle), (HILL, 1.2 - 0.6 * canvas.y / 64),
                        (GRASS, 1 + 0.05 * speckle), (ROAD, 1 - 0.06 * joints)):
        factor = np.where(canvas.mask == name, value, factor)
    return factor


def render(canvas, colors, glow, orb, sky_gain):
    """The scene by day or night; `glow` brightens the panes, `orb` is (mask, color) of the sun or moon."""
    photo = colors[canvas.mask]
    sky, pane = canvas.mask == SKY, canvas.mask == WINDOW
    photo = photo + shade(sky * sky_gain * canvas.y / 30) * (1, 1, 0.6)
    bars = (np.abs(canvas.u - 0.5) < 0.1) | (np.abs(canvas.v - 0.5) > 0.42)
    photo = photo * shade(1 + pane * glow * (0.5 - canvas.v)) * shade(1 - 0.18 * (pane & bars))
    return photo + shade(sky * orb[0]) * (np.float32(orb[1]) - photo)


def draw(rng, size):
    """(day, night, class mask) of one street: uint8 arrays (size, size, 3) twice and (size, size)."""
    canvas, orb = layout(rng, size)
    light = rng.uniform(0.94, 1.06, 2)
    tones = rng.uniform(-1, 1, (8, 8))
    clouds = smooth_noise(rng, size)
    stars = (canvas.mask == SKY) & (orb == 0) & (rng.random((size, size)) < 0.008)
    factor = shade(texture(canvas, tones))
    day = render(canvas, DAY, 0.4, (orb, (255, 238, 150)), 40) * factor
    day += shade(np.clip(clouds, 0, 1) * 40 * (canvas.mask == SKY))
    night = render(canvas, NIGHT, -0.2, (orb, (206, 208, 190)), 16) * factor
    night += shade(stars * rng.uniform(40, 120, (size, size)))
    grain = rng.normal(0, 1, (2, size, size, 1))
    images = [day * light[0] + 2 * grain[0], night * light[1] + 1.5 * grain[1]]
    return *(image.clip(0, 255).round().astype(np.uint8) for image in images), canvas.mask


def splits(n_train, n_test):
    return {'trainA': n_train, 'trainB': n_train, 'testA': n_test, 'testB': n_test}


def files(rng, size, split, name, outline=False):
    """The files of one image, {path in the output folder: content}."""
    day, night, mask = draw(rng, size)
    image, other = (day, night) if split.endswith('A') else (night, day)
    found = {f'{split}/{name}.png': image, f'truth/masks/{split}/{name}.png': mask}
    if split.startswith('test'):
        found[f'truth/{split}_as_{"B" if split.endswith("A") else "A"}/{name}.png'] = other
    return found
