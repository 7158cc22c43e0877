"""Detects signs of failing training from losses and images; each is reported in one sentence."""
import math
from collections import deque
from collections.abc import Callable

import numpy as np

WINDOW = 30         # reports of losses; 3000 images with the default --print_freq
LOOKS = 2           # checks in a row that must find the same: the first steps of any run look like a failure
D_WINS = 0.05
G_LOSES = {'lsgan': 0.8, 'vanilla': 3.0}    # of at most 1; of about 0.7 when both are equally good

TEXTS = dict(
    nonfinite='A loss is not finite (NaN or infinite), so the weights may be lost. Resume from an earlier checkpoint '
              '(--epoch) with a lower --lr, or skip such steps (--on_nonfinite skip).',
    discriminator='The discriminator separates real and generated images almost perfectly ({names}), so the generator '
                  'learns little. If the images stay bad, try a lower --lr, --gan_mode lsgan, fewer layers '
                  '(--n_layers_D 2) or more images.',
    alike='{names}: different inputs give nearly the same output (mode collapse). Resume from an earlier checkpoint, '
          'or try another --seed, a higher weight of the L1 or cycle loss, or more images.',
    unchanged='{names} equals the input: the generator copies it. This is fine if A and B differ little; otherwise '
              'try a lower weight of the identity or cycle loss, and check --direction.',
    flat='{names} is constant: the generator has collapsed, or its input is empty. Resume from an earlier checkpoint '
         'with a lower --lr, and check the training images.',
)


def nonfinite(record: dict) -> bool:
    return not all(math.isfinite(value) for value in record['losses'].values())


def losing_generators(records, gan_mode: str) -> list[str]:
    """Names of the adversarial losses that stayed high while those of their discriminators stayed near 0."""
    if gan_mode not in G_LOSES or len(records) < WINDOW:
        return []
    return [name for name in records[-1]['losses'] if name in ('G_GAN', 'G_A', 'G_B', 'GAN_A', 'GAN_B')
            and most(generator_loses(record['losses'], name, G_LOSES[gan_mode]) for record in records)]


def generator_loses(losses: dict, name: str, high: float) -> bool:
    own = f'D_{name.partition("_")[2]}'
    judges = [own] if own in losses else [other for other in losses if other == 'D' or other.startswith('D_')]
    return (bool(judges) and losses.get(name, 0) > high
            and max(abs(losses[judge]) for judge in judges) < D_WINS)


def most(answers) -> bool:
    answers = list(answers)
    return sum(answers) >= 0.9 * len(answers)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute difference of two images in levels (of 255); infinite if their sizes differ."""
    if first.shape != second.shape:
        return math.inf
    return float(np.abs(first.astype(np.int16) - second).mean())


def input_of(label: str, images: dict) -> np.ndarray | None:
    """The input that was translated: real_A for fake_B and fake_B_rgb."""
    source = {'fake_A': 'real_B', 'fake_B': 'real_A'}.get(label[:6])
    return images.get(source)


def flat(image: np.ndarray) -> bool:
    return float(image.std(axis=(0, 1)).max()) < 2


def unchanged(label: str, images: dict) -> bool:
    source = input_of(label, images)
    return source is not None and not flat(source) and difference(images[label], source) < 2


def alike(label: str, samples: list[dict]) -> bool:
    """Whether all pairs of different inputs have nearly equal outputs."""
    pairs = [(input_of(label, first), input_of(label, second), first[label], second[label])
             for index, first in enumerate(samples) for second in samples[:index]]
    pairs = [(out_1, out_2) for in_1, in_2, out_1, out_2 in pairs
             if in_1 is not None and in_2 is not None and 8 < difference(in_1, in_2) < math.inf]
    return bool(pairs) and all(difference(*pair) < 2 for pair in pairs)


def findings(samples: list[dict]) -> dict[str, list[str]]:
    """Problems of images {label: (H, W, 3) uint8}: {'flat': labels, 'unchanged': ..., 'alike': ...}."""
    common = set.intersection(*(set(sample) for sample in samples)) if samples else set()
    found = {'flat': [], 'unchanged': [], 'alike': []}
    for label in sorted(label for label in common if label.startswith('fake')):
        if all(flat(sample[label]) for sample in samples):
            found['flat'].append(label)
        elif alike(label, samples):
            found['alike'].append(label)
        elif all(unchanged(label, sample) for sample in samples):
            found['unchanged'].append(label)
    return found


class Health:
    """The notes of a run, {kind: {'text', 'first', 'last'}}: first and last epoch in which a problem was seen."""

    def __init__(self, gan_mode: str = '', notify: Callable[[str], None] = lambda text: None):
        self.gan_mode, self.notify = gan_mode, notify
        self.records = deque(maxlen=WINDOW)
        self.looks: dict[tuple, int] = {}
        self.notes: dict[str, dict] = {}

    def losses(self, record: dict):
        if nonfinite(record):
            self.note('nonfinite', record['epoch'])
            return
        self.records.append(record)
        if names := losing_generators(self.records, self.gan_mode):
            self.note('discriminator', record['epoch'], names)

    def images(self, epoch: int, samples: list[dict], source: str):
        """Check images; those of each `source`, training or validation, are counted separately."""
        for kind, labels in findings(samples).items():
            self.looks[source, kind] = self.looks.get((source, kind), 0) + 1 if labels else 0
            if self.looks[source, kind] >= LOOKS:
                self.note(kind, epoch, labels)

    def note(self, kind: str, epoch: int, names=()):
        """Print each kind once; the page shows when it was seen first and last."""
        text = TEXTS[kind].format(names=', '.join(names))
        if kind not in self.notes:
            self.notify(f'health: {text}')
        first = self.notes.get(kind, {}).get('first', epoch)
        self.notes[kind] = dict(text=text, first=first, last=epoch)
