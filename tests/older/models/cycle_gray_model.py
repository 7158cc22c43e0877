"""CycleGAN with a term on the mean brightness."""
from .cycle_gan_model import CycleGANModel


class CycleGrayModel(CycleGANModel):
    def backward_G(self):
        super(CycleGrayModel, self).backward_G()
        self.loss_gray = (self.fake_B.mean() - self.real_A.mean()).abs().detach()

    def __init__(self, opt):
        super().__init__(opt)
        self.loss_names += ['gray']
