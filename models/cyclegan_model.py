"""CycleGAN: unpaired image-to-image translation (Zhu et al. 2017, https://arxiv.org/abs/1703.10593).

G_A turns A into B and G_B turns B into A (the paper's G and F);
D_A judges images of B and D_B images of A (the paper's D_Y and D_X).
"""
from models.base_model import BaseModel
from models.losses import l1_loss
from models.networks import mixes_batch, together
from models.training.optimizer import Update
from util.image_pool import ImagePool


class CycleGANModel(BaseModel):
    defaults = {'dataset_mode': 'unaligned', 'netG': 'resnet_9blocks', 'norm': 'instance', 'no_dropout': True,
                'gan_mode': 'lsgan', 'pool_size': 50}
    train_options = {
        'preset': ('', 'uvcgan2: how Torbunov et al. 2023 train a CycleGAN', ('uvcgan2',)),
        'lambda_A': (10.0, 'weight of the cycle loss A -> B -> A'),
        'lambda_B': (10.0, 'weight of the cycle loss B -> A -> B'),
        'lambda_gan': (1.0, 'weight of the GAN losses; 0 trains the cycles alone'),
        'lambda_identity': (0.5, 'weight of the identity loss relative to the cycle losses; 0 for none'),
    }
    # https://arxiv.org/abs/2303.16280; its penalty is E|grad|^2, which is R1 with twice its weight
    presets = {'uvcgan2': {'spectral_norm_D': True, 'lambda_r1': 2.0, 'ema': 0.9999, 'lr': 1e-4, 'lambda_A': 5.0,
                           'lambda_B': 5.0, 'n_epochs': 500, 'n_epochs_decay': 0}}
    two_way = True
    twin = True
    loss_names = ('D_A', 'G_A', 'cycle_A', 'idt_A', 'D_B', 'G_B', 'cycle_B', 'idt_B')
    plateau_losses = ('cycle_A', 'cycle_B')

    def __init__(self, opt, runtime):
        super().__init__(opt, runtime)
        self.netG_A = self.define_G(opt.input_nc, opt.output_nc)
        self.netG_B = self.define_G(opt.output_nc, opt.input_nc)
        if not opt.isTrain:
            return
        self.netD_A = self.define_D(opt.output_nc)
        self.netD_B = self.define_D(opt.input_nc)
        self.fake_B_pool = ImagePool(opt.pool_size)     # pools draw random numbers in the order of creation
        self.fake_A_pool = ImagePool(opt.pool_size)
        self.optimizer_G = self.define_optimizer(self.netG_A, self.netG_B)
        self.optimizer_D = self.define_optimizer(self.netD_A, self.netD_B)

    def forward(self):
        """Both cycles; if possible, the identity images of training share a call with the translations."""
        A, B = self.real_A, self.real_B
        if self.identity_in_one_call():
            self.fake_B, self.idt_A = together(self.netG_A, A, B)
            self.fake_A, self.idt_B = together(self.netG_B, B, A)
            self.rec_A, self.rec_B = self.netG_B(self.fake_B), self.netG_A(self.fake_A)
        else:
            self.fake_B = self.netG_A(A)
            self.rec_A = self.netG_B(self.fake_B)
            self.fake_A = self.netG_B(B)
            self.rec_B = self.netG_A(self.fake_A)

    def identity_in_one_call(self) -> bool:
        return (self.opt.isTrain and self.opt.lambda_identity > 0 and self.real_A.shape == self.real_B.shape
                and not mixes_batch(self.netG_A))

    def updates(self):
        return [Update(self.optimizer_G, self.loss_G, frozen=(self.netD_A, self.netD_B)),
                Update(self.optimizer_D, self.loss_D)]

    def loss_G(self):
        """GAN and cycle losses (eq. 3), and the identity loss (section 5.2)."""
        opt = self.opt
        terms = dict(
            G_A=opt.lambda_gan * self.gan_term_of_G(self.netD_A, self.fake_B, self.real_B),
            G_B=opt.lambda_gan * self.gan_term_of_G(self.netD_B, self.fake_A, self.real_A),
            cycle_A=opt.lambda_A * l1_loss(self.rec_A, self.real_A),
            cycle_B=opt.lambda_B * l1_loss(self.rec_B, self.real_B))
        if opt.lambda_identity > 0:
            if not self.identity_in_one_call():
                self.idt_A, self.idt_B = self.netG_A(self.real_B), self.netG_B(self.real_A)
            terms.update(
                idt_A=opt.lambda_identity * opt.lambda_B * l1_loss(self.idt_A, self.real_B),
                idt_B=opt.lambda_identity * opt.lambda_A * l1_loss(self.idt_B, self.real_A))
        return self.total(**terms, **self.image_terms(self.fake_B, self.rec_A, self.real_A, self.netD_B.features, '_A'),
                          **self.image_terms(self.fake_A, self.rec_B, self.real_B, self.netD_A.features, '_B'))

    def loss_D(self):
        """Tell real images from generated ones, which include earlier ones from the pools."""
        return self.total(
            D_A=self.loss_D_basic(self.netD_A, self.real_B, self.fake_B_pool.query(self.fake_B)),
            D_B=self.loss_D_basic(self.netD_B, self.real_A, self.fake_A_pool.query(self.fake_A)))

    def loss_D_basic(self, netD, real, fake):
        on_real, on_fake = together(netD, real, fake)
        return 0.5 * sum(self.gan_terms_of_D(on_real, on_fake)) + self.critic_penalty(netD, real, fake)

    def get_current_visuals(self):
        names = ['real_A', 'fake_B', 'rec_A', 'idt_B', 'real_B', 'fake_A', 'rec_B', 'idt_A']
        if not (self.opt.isTrain and self.opt.lambda_identity > 0):
            names = [name for name in names if not name.startswith('idt')]
        return {name: getattr(self, name) for name in names if hasattr(self, name)}    # idt: see loss_G
