"""--parallel twin: one process trains the networks *_A and the other one the networks *_B, each on its own GPU.

Both see every image and compute what one process computes on the same batch. Only images (or content codes) and their
gradients are exchanged, never gradients of weights. Each process keeps a copy of the other's networks, which is updated
when a checkpoint or a preview needs it (`gather_state`).
"""
from contextlib import contextmanager

import torch

from models.cyclegan_model import CycleGANModel
from models.losses import l1_loss, perceptual_loss
from models.munit_model import MunitModel
from models.networks import together
from util.errors import UserError
from util.machine.distributed import Group


class Swap(torch.autograd.Function):
    """Exchange a tensor with the other process, and its gradient in backward. Can be differentiated once."""

    @staticmethod
    def forward(ctx, x, pair):
        ctx.pair = pair
        return pair.gather(x.contiguous())[1 - pair.rank]

    @staticmethod
    def backward(ctx, gradient):
        return ctx.pair.gather(gradient.contiguous())[1 - ctx.pair.rank], None


class TwinGroup(Group):
    """Two processes that do not split the batch: each sees all of it and has half of the losses."""

    def __init__(self, pair):
        super().__init__()
        self.pair, self.together = pair, True

    @contextmanager
    def alone(self):
        self.together = False
        try:
            yield
        finally:
            self.together = True

    def sum(self, tensor):
        return self.pair.sum(tensor)

    def same_random_numbers(self, device):
        self.pair.same_random_numbers(device)

    @torch.no_grad()
    def average_gradients(self, optimizer, value):
        """Nothing is averaged, but a value that is not finite in one process is so in both."""
        gradients = [parameter.grad for group in optimizer.param_groups for parameter in group['params']
                     if parameter.grad is not None]
        sums = torch.stack([gradient.sum() for gradient in gradients]).sum()
        return self.pair.sum(value.detach() + 0 * sums)


class Twin:
    """What both models need; a mixin before the class of the model."""

    owns_full_state = False

    def __init__(self, opt, runtime):
        pair = runtime.group
        if pair.size != 2:
            raise UserError(f'--parallel twin is for 2 processes, not {pair.size}: torchrun --nproc_per_node 2 -- '
                            f'train.py ..., or drop it with --parallel data')
        self.own, self.other = ('A', 'B') if pair.rank == 0 else ('B', 'A')
        super().__init__(opt, runtime)
        self.group = TwinGroup(pair)
        # the losses of the other process stay 0
        self.losses = {name: torch.zeros((), device=self.device) for name in self.loss_names}

    def swapped(self, x):
        return Swap.apply(x, self.group.pair)

    def of(self, name: str, side: str):
        """`of('real_', 'A')` is `self.real_A`."""
        return getattr(self, f'{name}{side}')

    def received(self, name: str, side: str):
        """The other's image of this name, for one of ours."""
        pair = self.group.pair
        return pair.gather(self.of(name, side).detach().contiguous())[1 - pair.rank]

    def keep(self, side: str, **values):
        """`keep('A', fake_=x)` is `self.fake_A = x`."""
        for name, value in values.items():
            setattr(self, f'{name}{side}', value)

    @torch.no_grad()
    def gather_state(self, averages):
        """Update the copies of the other's networks, averages and optimizer states; both processes must call it."""
        pair = self.group.pair
        mine, theirs = (self.changed_by(side, averages) for side in (self.own, self.other))
        dtype = next(iter(mine)).dtype
        flat = pair.gather(torch.cat([tensor.flatten().to(self.device, dtype) for tensor in mine]))[1 - pair.rank]
        for tensor, values in zip(theirs, flat.split([tensor.numel() for tensor in theirs]), strict=True):
            tensor.copy_(values.view_as(tensor))

    def changed_by(self, side: str, averages) -> list[torch.Tensor]:
        """All tensors that the process of a side changes: weights, averages and Adam's moments."""
        nets = {name: net for name, net in self.nets.items() if name.endswith(side)}
        averaged = [net for name, net in averages.items() if name in nets]
        found = [tensor for net in [*nets.values(), *averaged] for tensor in net.state_dict().values()]
        for optimizer in self.optimizers.values():
            owned = {id(weight) for group in optimizer.param_groups for weight in group['params']}
            weights = [weight for net in nets.values() for weight in net.parameters() if id(weight) in owned]
            found += [tensor for weight in weights for tensor in adam_state(optimizer, weight)]
        return found


def adam_state(optimizer, weight) -> list[torch.Tensor]:
    state = optimizer.state[weight]
    if not state:       # as Adam begins
        state.update(step=torch.zeros((), dtype=torch.float32, device=weight.device),
                     exp_avg=torch.zeros_like(weight),
                     exp_avg_sq=torch.zeros_like(weight))
    return [state[name] for name in ('step', 'exp_avg', 'exp_avg_sq')]


class TwinCycleGAN(Twin, CycleGANModel):
    """The first process has G_A (A to B) and D_A, the second one G_B and D_B."""

    def forward(self):
        if not self.group.together:
            return super().forward()
        netG = self.of('netG_', self.own)
        source, target = self.of('real_', self.own), self.of('real_', self.other)
        if self.identity_in_one_call():
            fake, identity = together(netG, source, target)
        else:
            fake, identity = netG(source), netG(target) if self.opt.lambda_identity > 0 else None
        received = self.swapped(fake)
        self.keep(self.other, fake_=fake, rec_=netG(received))
        self.keep(self.own, fake_=received, idt_=identity)

    def loss_G(self):
        """The terms whose gradients start in this process."""
        opt = self.opt
        own = self.own
        other = self.other
        real, weight = self.of('real_', other), getattr(opt, f'lambda_{other}')
        judged = self.gan_term_of_G(self.of('netD_', own), self.of('fake_', other), real)
        terms = {f'G_{own}': opt.lambda_gan * judged,
                 f'cycle_{other}': weight * l1_loss(self.of('rec_', other), real)}
        if opt.lambda_identity > 0:
            terms[f'idt_{own}'] = opt.lambda_identity * weight * l1_loss(self.of('idt_', own), real)
        return self.total(**terms)

    def loss_D(self):
        """Both pools see all fakes, so that they are the same in both processes."""
        pooled = {'B': self.fake_B_pool.query(self.fake_B), 'A': self.fake_A_pool.query(self.fake_A)}
        own, other = self.own, self.other
        loss = self.loss_D_basic(self.of('netD_', own), self.of('real_', other), pooled[other])
        return self.total(**{f'D_{own}': loss})

    def get_current_visuals(self):
        if self.group.together:
            self.keep(self.own, rec_=self.received('rec_', self.other))
            if self.opt.lambda_identity > 0:
                self.keep(self.other, idt_=self.received('idt_', self.own))
        return super().get_current_visuals()


class TwinMunit(Twin, MunitModel):
    """The first process has the auto-encoder and the discriminator of domain A, the second one those of B."""

    def forward(self):
        if not self.group.together:
            return super().forward()
        content, style = self.of('netG_', self.own).encode(self.of('real_', self.own))
        self.keep(self.own, content_=content, style_=style)
        self.keep(self.other, content_=self.swapped(content))

    def own_style(self, styles):
        """The random styles of our domain; `styles` are those of A and of B."""
        return styles['AB'.index(self.own)]

    def loss_D(self):
        own, random = self.own, self.own_style(self.styles_D)
        with torch.no_grad():
            fake = self.of('netG_', own).decode(self.of('content_', self.other), random)
        judged = self.discriminator_loss(self.of('netD_', own), fake, self.of('real_', own))
        return self.total(**{f'D_{own}': self.opt.lambda_gan * judged})

    def loss_G(self):
        """The terms whose gradients start in this process."""
        opt = self.opt
        own = self.own
        other = self.other
        netG = self.of('netG_', own)
        real = self.of('real_', own)
        style = self.of('style_', own)
        theirs, random = self.of('content_', other), self.own_style(self.styles_G)
        rec, fake = self.decode_both(netG, self.of('content_', own), style, theirs, random)
        self.keep(own, rec_=rec, fake_=fake)
        rec_content, rec_random = netG.encode(fake)     # the content is the other's
        terms = {f'recon_x_{own}': opt.lambda_recon_x * l1_loss(rec, real),
                 f'recon_s_{own}': opt.lambda_recon_s * l1_loss(rec_random, random),
                 f'recon_c_{other}': opt.lambda_recon_c * l1_loss(
                     rec_content, theirs.detach() if opt.detach_content else theirs),
                 f'GAN_{own}': opt.lambda_gan * self.gan_term_of_G(self.of('netD_', own), fake, real)}
        if opt.lambda_cyc > 0:
            cycled = netG.decode(self.swapped(rec_content), style)
            terms[f'cyc_{own}'] = opt.lambda_cyc * l1_loss(cycled, real)
        if opt.lambda_vgg > 0:
            terms[f'vgg_{own}'] = opt.lambda_vgg * perceptual_loss(self.vgg, fake, self.of('real_', other))
        return self.total(**terms)

    def get_current_visuals(self):
        if self.group.together:
            self.keep(self.other, rec_=self.received('rec_', self.own), fake_=self.received('fake_', self.own))
        return super().get_current_visuals()


TWINS = {CycleGANModel: TwinCycleGAN, MunitModel: TwinMunit}
