"""One generator, one direction, no targets: `test.py --model test` on a folder of images.

The generator is found by itself: `<label>_net_G.pth`, or of a CycleGAN the one for --direction. The option
--model_suffix names another: `_A` loads `<label>_net_G_A.pth`.
"""
from util.checkpoint import layout

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

    def weight_files(self):
        suffix = self.opt.model_suffix or self.suffix_of_direction()
        return {'G': self.file_of(f'G{suffix}')}

    def suffix_of_direction(self) -> str:
        """'_A' or '_B' where a CycleGAN was trained, for the generator that translates in --direction; else ''."""
        found = layout.labels(self.folder).get(self.label, [])
        if 'G' in found or 'G_A' not in found:
            return ''
        return '_A' if self.opt.direction == (self.opt.trained_direction or 'AtoB') else '_B'
