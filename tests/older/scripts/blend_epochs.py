"""Options of its own, two checkpoints in one network, a network by hand."""
import copy
import os

import torch

from data import create_dataset
from models import create_model, networks
from options.test_options import TestOptions
from util.util import mkdirs, save_image, tensor2im


class BlendOptions(TestOptions):
    def initialize(self, parser):
        parser = TestOptions.initialize(self, parser)
        parser.add_argument('--alpha', type=float, default=0.5, help='share of the first epoch')
        parser.set_defaults(results_dir='blended')
        return parser


if __name__ == '__main__':
    opt = BlendOptions().parse()
    opt.serial_batches = True
    opt.no_flip = True
    dataset = create_dataset(opt)
    model = create_model(opt)
    model.setup(opt)
    model.load_networks('1')
    first = copy.deepcopy(model.netG.state_dict())
    model.load_networks('latest')
    for name, value in model.netG.state_dict().items():
        if value.dtype.is_floating_point:
            value.copy_(first[name] * opt.alpha + value * (1 - opt.alpha))
    net = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.norm, not opt.no_dropout, opt.init_type,
                            opt.init_gain, opt.gpu_ids)
    net.load_state_dict(torch.load(os.path.join(opt.checkpoints_dir, opt.name, '1_net_G.pth'), map_location='cpu'))
    mkdirs(opt.results_dir)
    model.visual_names = ['fake_B']
    for i, data in enumerate(dataset):
        if i >= opt.num_test:
            break
        model.set_input(data)
        model.test()
        assert list(model.get_current_visuals()) == ['fake_B']
        save_image(tensor2im(model.fake_B), os.path.join(opt.results_dir, '%d.png' % i))
        assert net(model.real_A).shape == model.fake_B.shape
    print('blended with %s, at most %d' % (opt.alpha, opt.num_test))
