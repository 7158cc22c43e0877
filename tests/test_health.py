"""Signs of failing training, with made-up losses and images."""
import numpy as np
import pytest
from test_live_page import picture, record

from util.monitors import health


def lsgan_records(g, d, n=health.WINDOW):
    return [record(index, D_A=d, G_A=g, D_B=0.25, G_B=0.3) for index in range(n)]


def test_a_discriminator_that_wins_is_detected():
    assert health.losing_generators(lsgan_records(0.95, 0.01), 'lsgan') == ['G_A']
    assert health.losing_generators(lsgan_records(0.95, 0.01), 'wgangp') == []
    assert health.losing_generators(lsgan_records(0.95, 0.01, health.WINDOW - 1), 'lsgan') == []
    assert health.losing_generators(lsgan_records(0.5, 0.01), 'lsgan') == []
    assert health.losing_generators(lsgan_records(0.95, 0.2), 'lsgan') == []
    pix2pix = [record(n, G_GAN=6.0, G_L1=10.0, D_real=0.01, D_fake=0.02) for n in range(health.WINDOW)]
    assert health.losing_generators(pix2pix, 'vanilla') == ['G_GAN']
    assert health.losing_generators([*pix2pix[4:], *lsgan_records(0, 1, 4)], 'vanilla') == []


def sample(seed, **more):
    return dict(real_A=picture(100 + 30 * seed, seed=seed), fake_B=picture(60, seed=seed + 50)) | more


def test_images_of_a_healthy_run_have_no_findings():
    assert health.findings([sample(0), sample(1)]) == dict(flat=[], unchanged=[], alike=[])
    assert health.findings([]) == dict(flat=[], unchanged=[], alike=[])


@pytest.mark.parametrize('kind, change', [
    ('flat', lambda sample: dict(fake_B=np.full((8, 8, 3), 0, np.uint8))),
    ('unchanged', lambda sample: dict(fake_B=sample['real_A'] // 2 * 2)),
    ('alike', lambda sample: dict(fake_B=picture(60, seed=9)))])
def test_images_of_a_failing_run_have_findings(kind, change):
    samples = [sample(n) | change(sample(n)) for n in range(3)]
    assert health.findings(samples) == dict(flat=[], unchanged=[], alike=[]) | {kind: ['fake_B']}
    assert health.findings([*samples[:2], sample(5)]) == dict(flat=[], unchanged=[], alike=[])


def test_equal_inputs_may_have_equal_outputs():
    assert health.findings([sample(1), sample(1)])['alike'] == []


def test_notes_are_printed_once_and_not_at_the_first_look():
    lines = []
    watch = health.Health('lsgan', lines.append)
    black = [sample(n, fake_B=np.zeros((8, 8, 3), np.uint8)) for n in range(2)]
    watch.images(1, black, 'train')
    watch.images(1, [sample(0), sample(1)], 'train')
    watch.images(2, black, 'train')
    assert not lines
    watch.images(2, black, 'train')
    watch.images(7, black, 'train')
    assert len(lines) == 1 and lines[0].startswith('health: fake_B ')
    assert watch.notes['flat'] | dict(text='') == dict(text='', first=2, last=7)
