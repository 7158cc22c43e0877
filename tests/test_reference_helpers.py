"""util.util and util.html: the helpers that scripts written for the reference import."""
import argparse
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from util import util
from util.html import HTML
from util.images import tensor_to_image


class Page(HTMLParser):
    """The tags of a page as (name, attributes), and its texts."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text):
        if text.strip():
            self.texts.append(text.strip())

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_a_page_of_images(tmp_path):
    page = HTML(tmp_path / 'web', 'my <title>', refresh=5)
    folder = page.get_image_dir()
    assert folder == str(tmp_path / 'web' / 'images')
    files = [f'odd #{number} ä.png' for number in range(3)]
    for name in files:
        util.save_image(np.zeros((4, 4, 3), np.uint8), f'{folder}/{name}')
    page.add_header('first <row>')
    page.add_images(files, ['a', 'b', '<c>'], files, width=123)
    page.add_header('second row')
    page.add_images(files[:1], ['d'], files[:1])
    page.save()

    found = Page(tmp_path / 'web' / 'index.html')
    assert found.texts == ['my <title>', 'first <row>', 'a', 'b', '<c>', 'second row', 'd']
    assert found.of('meta') == [{'http-equiv': 'refresh', 'content': '5'}]
    assert [image['style'] for image in found.of('img')] == ['width:123px'] * 3 + ['width:400px']
    addresses = [image['src'] for image in found.of('img')]
    assert addresses == [link['href'] for link in found.of('a')] and not any('#' in address for address in addresses)
    assert all((tmp_path / 'web' / unquote(address)).is_file() for address in addresses)
    assert len(found.of('table')) == 2


def test_a_page_does_not_reload_by_default(tmp_path):
    page = HTML(str(tmp_path), 'title')
    page.save()
    assert Page(tmp_path / 'index.html').of('meta') == []


def test_tensor2im():
    batch = torch.rand(2, 3, 5, 7) * 2 - 1
    image = util.tensor2im(batch)
    assert image.dtype == np.uint8 and np.array_equal(image, tensor_to_image(batch[0]))
    levels = torch.arange(256).view(1, 1, 16, 16) / 127.5 - 1
    assert np.array_equal(util.tensor2im(levels), np.arange(256).reshape(16, 16, 1).repeat(3, 2))
    assert util.tensor2im(batch, imtype=np.float32).dtype == np.float32
    array = np.full((2, 2, 3), 7.9)
    assert util.tensor2im(array).tolist() == np.full((2, 2, 3), 7).tolist()
    assert util.tensor2im('text') == 'text'


def test_save_image_and_its_aspect_ratio(tmp_path):
    array = np.zeros((10, 20, 3), np.uint8)
    for ratio, size in ((1.0, (20, 10)), (2.0, (20, 20)), (0.5, (40, 10))):
        util.save_image(array, tmp_path / 'image.png', aspect_ratio=ratio)
        assert Image.open(tmp_path / 'image.png').size == size


def test_mkdir_and_mkdirs(tmp_path):
    util.mkdir(tmp_path / 'a' / 'b')
    util.mkdir(tmp_path / 'a' / 'b')
    util.mkdirs([tmp_path / 'c', str(tmp_path / 'd')])
    util.mkdirs(str(tmp_path / 'e'))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a', 'c', 'd', 'e']


def test_print_numpy(capsys):
    util.print_numpy(np.array([[1, 2], [3, 10]]), shp=True)
    assert capsys.readouterr().out.splitlines() == [
        'shape, (2, 2)', 'mean = 4.000, min = 1.000, max = 10.000, median = 2.500, std = 3.536']
    util.print_numpy(np.zeros(2), val=False)
    assert capsys.readouterr().out == ''


def test_diagnose_network_prints_the_mean_gradient(capsys):
    net = torch.nn.Linear(2, 1)
    util.diagnose_network(net)
    net.weight.grad, net.bias.grad = torch.tensor([[1.0, -3.0]]), torch.tensor([4.0])
    util.diagnose_network(net, 'G')
    assert capsys.readouterr().out.splitlines() == ['network', '0', 'G', '3']


def test_str2bool():
    assert all(util.str2bool(word) is True for word in (True, 'Yes', 't', '1'))
    assert all(util.str2bool(word) is False for word in (False, 'no', 'FALSE', '0'))
    with pytest.raises(argparse.ArgumentTypeError):
        util.str2bool('maybe')
