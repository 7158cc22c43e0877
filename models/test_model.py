"""One generator, one direction, no targets: `test.py --model test` on a folder of images.

The generator is found by itself: `<label>_net_G.pth`, or of a CycleGAN the one for --direction. The option
--model_suffix names another: `_A` loads `<label>_net_G_A.pth`.
"""
from util import checkpoint

from .base_model import BaseModel


class TestModel(BaseModel):
    defaults = {'dataset_mode': 'single'}
    test_options = {
        'model_suffix': ('', 'which generator: `_A` loads <epoch>_net_G_A.pth; found by --direction if not given'),
    }
    __test__ = False    # not a test class of pytest

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG = self.define_G(opt.input_nc, opt.output_nc)

    def forward(self):
        self.fake = self.netG(self.real_A)

    def get_current_visuals(self):
        return {'real': self.real_A, 'fake': self.fake}

    def weight_files(self, label):
        suffix = self.opt.model_suffix or self.suffix_of_direction(label)
        return {'G': checkpoint.network_path(self.folder, label, f'G{suffix}')}

    def suffix_of_direction(self, label: str) -> str:
        """'' where there is a generator G; otherwise '_A' or '_B', the one that translates in --direction."""
        if checkpoint.network_path(self.folder, label, 'G').exists():
            return ''
        if 'G_A' not in checkpoint.labels(self.folder).get(label, []):
            return ''
        return '_A' if self.opt.direction == (self.opt.trained_direction or 'AtoB') else '_B'
