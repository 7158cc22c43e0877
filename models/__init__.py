"""Models: `--model foo` is the class FooModel of models/foo_model.py. See template_model.py to add one.

`create_model` and `create_trainer` turn options into objects; nothing below them reads the command line.
"""
from util.errors import UserError
from util.registry import Registry

registry = Registry(package='models', kind='model', option='model',
                    ours=('bicyclegan', 'colorization', 'cut', 'cyclegan', 'munit', 'pix2pix', 'pix2pixhd', 'spade',
                          'template', 'test'),
                    renamed={'pix2pix_colorization': 'colorization', 'one_direction_test': 'test'})


def create_model(opt, runtime=None):
    """The model for the options; a `ResourceError` if it does not fit into memory.

    A script written for the reference gives no `runtime`, and gets a model with the methods that it knows.
    """
    from models import experimental
    from util.machine.memory import memory_explained
    if runtime is None:
        from models.reference_scripts import ScriptModel
        return ScriptModel(opt, create_model, create_trainer)
    if registry.is_older(opt.model):
        from models.reference_adapter import create_older_model
        return create_older_model(registry.load_older(opt.model), opt, runtime)
    kind = registry.load(opt.model)
    refuse_incomplete(kind)
    if opt.isTrain and opt.parallel == 'twin':
        kind = experimental.twin_of(kind)
    with memory_explained(runtime.device, ngf=opt.ngf, ndf=opt.ndf):
        model = kind(opt, runtime)
    if opt.fused_norms:
        experimental.use_fused_norms(model)
    return model


def refuse_incomplete(kind: type):
    """A `UserError` for a class that lacks what every model has."""
    import inspect

    from models.base_model import BaseModel
    file = inspect.getfile(kind)
    if not issubclass(kind, BaseModel):
        raise UserError(f'{file}: {kind.__name__} must extend BaseModel of models/base_model.py')
    try:
        inspect.signature(kind).bind('opt', 'runtime')
    except TypeError as error:
        raise UserError(f'{file}: {kind.__name__}.__init__ cannot be called ({error}); it must take self, opt, runtime')
    has_updates = kind.updates is not BaseModel.updates or hasattr(kind, 'optimize_parameters')
    missing = [name for name, found in (
        ('forward', kind.forward is not BaseModel.forward), ('updates', has_updates or kind.translates_only),
        ('get_current_visuals', hasattr(kind, 'get_current_visuals'))) if not found]
    if missing:
        raise UserError(f'{file}: {kind.__name__} has no method {" and no method ".join(missing)}; see '
                        f'docs/extending.md')


def create_trainer(opt, model):
    """The trainer of a model, with the schedule and engine that the options ask for."""
    from functools import partial

    from models import experimental, starting
    from models.nets.recompute import recompute
    from models.nets.winograd import use_winograd
    from models.training.accumulate import Accumulated
    from models.training.engine import create_engine
    from models.training.schedule import Schedule
    from models.training.trainer import Trainer
    start_lines = starting.start(model, opt)
    if opt.winograd:
        for net in model.nets.values():
            use_winograd(net)
    if opt.grad_checkpoint:
        for net in model.nets.values():
            recompute(net)
    schedule = Schedule(opt.lr_policy, opt.lr, opt.n_epochs, opt.n_epochs_decay, opt.lr_decay_iters, opt.lr_gamma,
                        opt.lr_step_unit, () if opt.plateau_metric else model.plateau_losses)
    # torchrun may have restarted other numbers of processes, which make updates of the same size
    update_size = opt.update_size or opt.batch_size * model.group.size * opt.accumulate
    parts = -(-update_size // (opt.batch_size * model.group.size))
    if model.make_engine:       # it makes its updates itself
        make_engine = model.make_engine
    elif parts > 1:
        make_engine = Accumulated
    elif opt.engine == 'graph':
        make_engine = experimental.create_graph_engine
    else:
        make_engine = partial(create_engine, opt.engine)
    trainer = Trainer(model, schedule, make_engine, opt.batch_size, parts, opt.ema, opt.n_critic, update_size)
    trainer.start_lines = start_lines
    return trainer


def create_validation(opt, test_opt, trainer, dataset, epoch_size: int):
    """The validation of a run; see models/validation/create.py."""
    from models.validation import create
    return create.create_validation(opt, test_opt, trainer, dataset, epoch_size)


def load_translator(source, epoch: str | int = 'latest', direction: str = '', averages: bool = True,
                    evaluate: bool = False, seed: int = 0, **networks):
    """A trained model as a function from images to images; see `models.translation.translator.Translator`.

        from models import load_translator
        translate = load_translator('checkpoints/shoes')
        result = translate(image)

    Args:
        source: a run folder, a `.pth` weight file (of this program or of the reference), or a folder that
            scripts/export.py wrote.
        epoch: label of the checkpoint.
        direction: 'AtoB' or 'BtoA'; default: that of the training.
        averages: use moving averages of the weights (--ema) if there are any.
        evaluate: batch norms use their running statistics, and dropout is off; default: as in test.py without --eval.
        seed: decides about the noise of dropout.
        networks: netG, input_nc, output_nc, ngf, norm, no_dropout, ... for weights without the options of their
            training. What the weights themselves show needs no option.

    Raises a `UserError` that says what is missing or does not fit.
    """
    from models.translation.sources import source_of
    from models.translation.translator import Translator
    found = source_of(source, registry.declarations, str(epoch), averages, networks)
    return Translator(found, direction, evaluate, seed)
