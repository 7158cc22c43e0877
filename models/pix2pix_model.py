"""pix2pix: image-to-image translation with a conditional GAN (Isola et al. 2017, https://arxiv.org/abs/1611.07004).

The noise z of the paper is dropout, in training and at test time. Each ablation in the paper is an option:
--lambda_gan 0 (L1), --lambda_L1 0 (cGAN), --unconditional_D (GAN), --netG encdec_256, --netD pixel|patch16|patch286,
--no_dropout.
"""
import torch

from models.base_model import BaseModel
from models.losses import l1_loss
from models.networks import together
from models.training.optimizer import Update


class Pix2PixModel(BaseModel):
    defaults = {'dataset_mode': 'aligned', 'netG': 'unet_256', 'norm': 'batch', 'gan_mode': 'vanilla',
                'pool_size': 0}
    train_options = {
        'lambda_L1': (100.0, 'weight of the L1 loss; 0 for the GAN alone'),
        'lambda_gan': (1.0, 'weight of the GAN loss; 0 for L1 alone'),
        'unconditional_D': (False, 'the discriminator does not see the input image'),
    }
    older_names = (('lambda_A', 'lambda_L1'),)
    loss_names = ('G_GAN', 'G_L1', 'D_real', 'D_fake')
    plateau_losses = ('G_L1',)
    target = ('fake_B', 'real_B')

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG = self.define_G(opt.input_nc, opt.output_nc)
        if not opt.isTrain:
            return
        self.netD = self.define_D(opt.output_nc if opt.unconditional_D else opt.input_nc + opt.output_nc)
        self.optimizer_G = self.define_optimizer(self.netG)
        self.optimizer_D = self.define_optimizer(self.netD)

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def updates(self):
        update_G = Update(self.optimizer_G, self.loss_G, frozen=(self.netD,))
        if self.opt.lambda_gan == 0:
            return [update_G]
        return [Update(self.optimizer_D, self.loss_D), update_G]

    def loss_D(self):
        """Tell real pairs from pairs with a generated image. Halved, so that D learns more slowly than G."""
        real, fake = self.seen_by_D(self.real_B), self.seen_by_D(self.fake_B.detach())
        on_fake, on_real = together(self.netD, fake, real)
        D_real, D_fake = self.gan_terms_of_D(on_real, on_fake)
        self.note(D_real=D_real, D_fake=D_fake)
        return 0.5 * (D_fake + D_real) + self.critic_penalty(self.netD, real, fake)

    def loss_G(self):
        """Fool the discriminator and stay close to the target (eq. 4)."""
        opt = self.opt
        terms = dict(G_L1=opt.lambda_L1 * l1_loss(self.fake_B, self.real_B))
        if opt.lambda_gan > 0:
            fake, real = self.seen_by_D(self.fake_B), self.seen_by_D(self.real_B)
            terms.update(G_GAN=opt.lambda_gan * self.gan_term_of_G(self.netD, fake, real))
        return self.total(**terms, **self.image_terms(self.fake_B, self.fake_B, self.real_B, self.features_of_D))

    def features_of_D(self, image):
        return self.netD.features(self.seen_by_D(image))

    def seen_by_D(self, image):
        """The input of the discriminator: `real_A` and the image, concatenated along channels."""
        return image if self.opt.unconditional_D else torch.cat([self.real_A, image], 1)

    def get_current_visuals(self):
        return {'real_A': self.real_A, 'fake_B': self.fake_B, 'real_B': self.real_B}
