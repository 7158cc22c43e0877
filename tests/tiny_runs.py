"""Command lines of short training runs: networks of a few thousand weights, images of 32x32."""
from pathlib import Path

from conftest import draw_root

from options import TrainOptions

SHARED = ['--load_size', '36', '--crop_size', '32', '--ngf', '2', '--ndf', '2', '--num_threads', '0', '--gpu_ids', '-1',
          '--display_id', '-1', '--seed', '1', '--max_dataset_size', '4', '--print_freq', '1', '--pool_size', '3']
MODELS = {
    'cyclegan': ['--model', 'cyclegan', '--netG', 'resnet_1blocks', '--netD', 'n_layers', '--n_layers_D', '1'],
    'bicyclegan': ['--model', 'bicyclegan', '--netG', 'unet_32', '--netD', 'n_layers', '--n_layers_D', '1',
                   '--nef', '2', '--n_blocks_E', '2', '--nz', '3'],
    'cut': ['--model', 'cut', '--netG', 'resnet_1blocks', '--netD', 'n_layers', '--n_layers_D', '1', '--netF_nc', '4',
            '--num_patches', '8'],
    'pix2pix': ['--model', 'pix2pix', '--netG', 'unet_32', '--netD', 'n_layers', '--n_layers_D', '1'],
    'colorization': ['--model', 'colorization', '--netG', 'unet_32', '--netD', 'n_layers', '--n_layers_D', '1'],
    'pix2pixhd': ['--model', 'pix2pixhd', '--n_downsample_global', '2', '--n_blocks_global', '1', '--n_local_enhancers',
                  '1', '--n_blocks_local', '1', '--num_scales_D', '2', '--n_layers_D', '1'],
    'spade': ['--model', 'spade', '--n_ups', '3', '--spade_nc', '2', '--num_scales_D', '1', '--n_layers_D', '1'],
    'template': ['--model', 'template', '--netG', 'resnet_1blocks', '--dropout'],
    'munit': ['--model', 'munit', '--num_scales_D', '1', '--n_layers_D', '1', '--mlp_dim', '4', '--n_res', '1'],
}
ROOTS = {'cyclegan': 'unaligned', 'bicyclegan': 'aligned', 'cut': 'unaligned', 'munit': 'unaligned',
         'pix2pix': 'aligned', 'pix2pixhd': 'aligned', 'spade': 'aligned', 'template': 'aligned',
         'colorization': 'photos'}


def draw_home(folder: Path) -> Path:
    """Create images for all models."""
    draw_root(folder / 'aligned', ('',), (80, 40))
    draw_root(folder / 'unaligned', ('A', 'B'))
    draw_root(folder / 'photos', ('',))
    return folder


class Runs:
    """Starts tiny runs in a `faults.Server`, each with 4 images and 3 epochs: 12 steps."""

    def __init__(self, server, home: Path, folder: Path):
        self.server, self.home, self.folder = server, home, folder

    def words(self, model: str, name: str, *more) -> list[str]:
        length = ['--max_iters', '12'] if model == 'munit' else ['--n_epochs', '2', '--n_epochs_decay', '1']
        return [*MODELS[model], '--dataroot', str(self.home / ROOTS[model]), '--name', name, *SHARED, *length,
                *self.place(), *map(str, more)]

    def place(self) -> list[str]:
        return ['--checkpoints_dir', str(self.folder)]

    def begin(self, model: str, name: str, *more, **faults):
        return self.server.run(self.words(model, name, *more), folder=str(self.folder / name), **faults)

    def resume(self, name: str, *more, **faults):
        words = ['--continue_train', '--name', name, '--gpu_ids', '-1', *self.place(), *map(str, more)]
        return self.server.run(words, folder=str(self.folder / name), **faults)

    def test(self, name: str, *more, **faults):
        words = ['--name', name, '--gpu_ids', '-1', *self.place(), '--results_dir', str(self.folder / 'results')]
        return self.server.run([*words, *map(str, more)], program='test', **faults)


def option_names() -> list[str]:
    return [name for name in TrainOptions().build_parser([])._option_string_actions if name.startswith('--')]
