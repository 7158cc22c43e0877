"""Adam in the fastest form that the device has; what it saves can be loaded on every device, by every form."""
import torch

FORMS = ('fused', 'foreach', 'capturable')      # of the arithmetic; they leave no trace in a checkpoint


class Adam(torch.optim.Adam):
    """All parameters in one kernel (fused) on a CPU and on a GPU; otherwise a few parameters at a time."""

    def __init__(self, parameters, lr: float, betas: tuple[float, float], weight_decay: float):
        parameters = list(parameters)
        fused = all(parameter.is_cuda or parameter.is_cpu for parameter in parameters)
        super().__init__(parameters, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused or None)

    def make_capturable(self):
        """Keep the rate and the counts of steps on the device, so that a captured graph sees them change."""
        for group in self.param_groups:
            group.update(lr=torch.tensor(float(group['lr']), device=group['params'][0].device), capturable=True)

    def state_dict(self) -> dict:
        state = super().state_dict()
        plain = dict(fused=None, foreach=None, capturable=False)
        return {**state, 'param_groups': [{**group, **plain, 'lr': float(group['lr'])}
                                          for group in state['param_groups']]}

    def load_state_dict(self, state: dict):
        """Moments, counts and rate of `state`, in our own form."""
        forms = [{name: group[name] for name in FORMS} for group in self.param_groups]
        groups = [{**group, **own} for group, own in zip(state['param_groups'], forms, strict=True)]
        super().load_state_dict({**state, 'param_groups': groups})


def set_rate(optimizer: torch.optim.Optimizer, lr: float):
    """The learning rate of the next steps; where it lies on the device it stays at its place."""
    for group in optimizer.param_groups:
        if isinstance(group['lr'], torch.Tensor):
            group['lr'].fill_(lr)
        else:
            group['lr'] = lr
