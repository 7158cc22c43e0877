"""Previews of fixed images during training: always the same images, and no effect on training."""
import shutil

import pytest
import torch
from training import state_of, trainer_of

from data import create_dataset, create_loader, fixed_samples
from models.training.progress import Progress
from util.machine.seeding import seed_everything

MODELS = {
    'cyclegan': ('unaligned', ['--netG', 'resnet_1blocks', '--pool_size', '2']),
    'bicyclegan': ('aligned', ['--netG', 'unet_32', '--netD', 'patch16', '--n_blocks_E', '2']),
    'cut': ('unaligned', ['--netG', 'resnet_1blocks', '--CUT_mode', 'FastCUT']),
    'pix2pix': ('aligned', ['--netG', 'unet_32']),
    'pix2pixhd': ('aligned', ['--n_downsample_global', '2', '--n_blocks_global', '1']),
    'spade': ('aligned', ['--n_ups', '3', '--spade_nc', '4']),
    'colorization': ('colorization', ['--netG', 'unet_32']),
    'munit': ('unaligned', ['--num_scales_D', '1', '--n_layers_D', '3', '--mlp_dim', '8', '--n_res', '1']),
    'template': ('aligned', ['--netG', 'resnet_1blocks', '--dropout']),
}


def equal(first, second) -> bool:
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return first == second


def begin_training(name, train_options, build_model, roots, steps: int):
    """Options, a model after some steps, and an iterator over further batches."""
    mode, argv = MODELS[name]
    seed_everything(3)
    opt = train_options('--dataroot', roots[mode], '--model', name, *argv)
    model = build_model(opt)
    trainer_of(model).set_learning_rate(Progress(last_epoch=200))
    batches = iter(create_loader(create_dataset(opt), opt))
    for _ in range(steps):
        trainer_of(model).step(next(batches))
    return opt, model, batches


@pytest.fixture
def training(train_options, build_model, roots):
    """training('pix2pix') -> options, model after one step, another batch."""
    def begin(name):
        opt, model, batches = begin_training(name, train_options, build_model, roots, steps=1)
        return opt, model, next(batches)
    return begin


def samples_of(opt, count: int) -> list:
    _, samples = fixed_samples(opt, create_dataset(opt), count)
    return samples


@pytest.mark.sample(4)
@pytest.mark.parametrize('name', MODELS)
def test_a_preview_does_not_affect_training(name, training):
    opt, model, batch = training(name)
    before = state_of(model).snapshot(Progress())
    current = model.get_current_visuals()
    previews = [[model.preview(sample) for sample in samples_of(opt, 2)] for _ in 'ab']
    assert equal(state_of(model).snapshot(Progress()), before) and equal(model.get_current_visuals(), current)
    assert equal(*previews)
    trainer_of(model).step(batch)
    with_preview = state_of(model).snapshot(Progress())
    _, again, batch = training(name)
    trainer_of(again).step(batch)
    assert equal(state_of(again).snapshot(Progress()), with_preview)


@pytest.mark.parametrize('name', MODELS)
def test_a_preview_uses_the_current_weights(name, training):
    opt, model, batch = training(name)
    sample, = samples_of(opt, 1)
    first = model.preview(sample)
    trainer_of(model).step(batch)
    second = model.preview(sample)
    assert torch.equal(first['real_A'], second['real_A'])
    fakes = [label for label in first if label.startswith('fake')]
    assert fakes and not any(torch.equal(first[label], second[label]) for label in fakes)
    assert all(len(image) == 1 and image.shape[1] in (1, 3) for image in second.values())


@pytest.mark.parametrize(('phases', 'source'), [(('val', 'test'), 'validation'), (('test',), 'test'), ((), 'training')])
def test_fixed_samples_say_what_they_are(phases, source, train_options, aligned_root):
    (aligned_root / 'test').rename(aligned_root / 'images')
    for phase in phases:
        shutil.copytree(aligned_root / 'images', aligned_root / phase)
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32')
    found, samples = fixed_samples(opt, create_dataset(opt), 2)
    folder = aligned_root / (phases or ('train',))[0]
    assert found == source
    assert [sample['A_paths'] for sample in samples] == [[str(folder / f'{index}.png')] for index in range(2)]


def test_fixed_samples_from_lists_are_training_images(train_options, aligned_root):
    """A list names the images of every phase."""
    table = aligned_root / 'pairs.csv'
    table.write_text('\n'.join(f'train/{index}.png,train/{index}.png' for index in range(5)), encoding='utf-8')
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--pairs', table)
    assert fixed_samples(opt, create_dataset(opt), 2)[0] == 'training'
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32', '--pairs', table,
                        '--val_fraction', 0.4)
    source, samples = fixed_samples(opt, create_dataset(opt), 5)
    assert (source, len(samples)) == ('validation', 2)


def test_a_damaged_preview_image_is_left_out(train_options, aligned_root):
    (aligned_root / 'test' / '0.png').write_bytes(b'damaged')
    opt = train_options('--dataroot', aligned_root, '--model', 'pix2pix', '--netG', 'unet_32')
    source, samples = fixed_samples(opt, create_dataset(opt), 2)
    assert [sample['A_paths'] for sample in samples] == [[str(aligned_root / 'test' / '1.png')]]
