"""pix2pix with one more term and one more loss."""
import torch

from .pix2pix_model import Pix2PixModel


class PixSmoothModel(Pix2PixModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser = Pix2PixModel.modify_commandline_options(parser, is_train)
        if is_train:
            parser.add_argument('--lambda_smooth', type=float, default=1.0, help='weight of the smoothness')
        return parser

    def __init__(self, opt):
        Pix2PixModel.__init__(self, opt)
        self.loss_names.append('G_smooth')

    def backward_G(self):
        fake_AB = torch.cat((self.real_A, self.fake_B), 1)
        self.loss_G_GAN = self.criterionGAN(self.netD(fake_AB), True)
        self.loss_G_L1 = self.criterionL1(self.fake_B, self.real_B) * self.opt.lambda_L1
        steps = self.fake_B[:, :, 1:] - self.fake_B[:, :, :-1]
        self.loss_G_smooth = steps.abs().mean() * self.opt.lambda_smooth
        self.loss_G = self.loss_G_GAN + self.loss_G_L1 + self.loss_G_smooth
        self.loss_G.backward()
