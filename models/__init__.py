"""Models: `--model foo` is the class FooModel of models/foo_model.py. See template_model.py to add one."""
from util.registry import Registry

registry = Registry(package='models', kind='model', option='model')


def create_model(opt, runtime):
    """The model that the options ask for."""
    kind = registry.load(opt.model)
    if opt.isTrain and opt.parallel == 'twin':
        from .twin import TWINS
        kind = TWINS[kind]
    return kind(opt, runtime)
