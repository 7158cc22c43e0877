"""Tested on a CPU, never measured on the GPUs it is for: off unless asked for. Only models/__init__.py imports this."""
from util.console import warn


def twin_of(kind: type) -> type:
    """The class of --parallel twin for a model class."""
    from models.experimental.twin import TWINS
    return TWINS[kind]


def create_graph_engine(trainer):
    """The engine of --engine graph."""
    from models.experimental import graph
    return graph.create_graph_engine(trainer)


def use_fused_norms(model):
    """--fused_norms: run instance norms and what follows them as one Triton kernel, where it works."""
    problem = 'it needs a CUDA GPU' if model.device.type == 'cpu' else ''
    if not problem:
        from models.experimental import fused_norm
        problem = fused_norm.trouble(model.device)
    if problem:
        warn(f'--fused_norms does not work on {model.device} ({problem}); using plain norms')
        return
    from models.nets.norms import fuse_norms
    for net in model.nets.values():
        fuse_norms(net, fused_norm.fused_instance_norm)
