"""Models: `--model foo` is the class FooModel of models/foo_model.py. See template_model.py to add one."""
from util.registry import Registry

registry = Registry(package='models', kind='model', option='model')


def create_model(opt, runtime):
    """The model that the options ask for; a `ResourceError` where memory does not suffice for it."""
    from util.machine.memory import memory_explained
    kind = registry.load(opt.model)
    if opt.isTrain and opt.parallel == 'twin':
        from .experimental.twin import TWINS
        kind = TWINS[kind]
    with memory_explained(runtime.device, ngf=opt.ngf, ndf=opt.ndf):
        return kind(opt, runtime)
