"""One generator, one direction, no targets: `test.py --model test` on a folder of images.

It loads `<label>_net_G.pth` or, if the run has two generators, the one for --direction. The option --model_suffix
selects another: `_A` loads `<label>_net_G_A.pth`.
"""
from models.base_model import BaseModel


class TestModel(BaseModel):
    defaults = {'dataset_mode': 'single'}
    test_options = {
        'model_suffix': ('', 'which generator: `_A` loads <epoch>_net_G_A.pth; default: the one for --direction'),
    }
    translates_only = True
    translates_single = True
    __test__ = False    # not a test class for pytest

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG = self.define_G(opt.input_nc, opt.output_nc)

    def forward(self):
        self.fake = self.netG(self.real_A)

    def get_current_visuals(self):
        return {'real': self.real_A, 'fake': self.fake}

    def saved_names(self, found):
        opt = self.opt
        suffix = opt.model_suffix
        if not suffix and 'G' not in found and 'G_A' in found:      # a run with two generators
            suffix = '_A' if opt.direction == (opt.trained_direction or 'AtoB') else '_B'
        return {'G': f'G{suffix}'}
