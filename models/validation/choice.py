"""Which metrics a run has: those of --val_metrics, or what suits its data and can be computed here."""
from models import metrics
from models.metrics import weights
from util.errors import UserError

PAIRS = ('l1', 'psnr', 'ssim')
SETS = ('kid', 'kid_effnet')        # the first one that can be computed
STYLES = 'diversity'


def choose(asked: str, paired: bool, styled: bool, place: str = '') -> tuple[list[str], str]:
    """The names of the metrics; and if there are none, why.

    Args:
        asked: the value of --val_metrics.
        paired: does each validation image have a target?
        styled: does the model give several results for one input?
        place: the value of --metric_weights.
    """
    if asked != 'auto':
        names = [] if asked == 'none' else metrics.split(asked)
        kinds = {name: metrics.METRICS[name].kind for name in names if name in metrics.METRICS}
        wrong = [*(f'{name} compares pairs, but the images are unpaired' for name in kinds
                   if kinds[name] == 'pairs' and not paired),
                 *(f'{name} compares several results of one input, but this model has one' for name in kinds
                   if kinds[name] == 'styles' and not styled)]
        if wrong:
            raise UserError(*(f'--val_metrics {line}; drop it' for line in wrong))
        return names, ''
    if paired and not styled:
        return [name for name in PAIRS if available(name, place)], ''
    of_sets = next((name for name in SETS if available(name, place)), None)
    if of_sets is None:
        return [], f'no weights of a network that can compare unpaired images; {ways_to_get()}'
    return [of_sets, *([STYLES] if styled and available(STYLES, place) else [])], ''



def available(name: str, place: str) -> bool:
    """Can a metric be computed here, without a download? No, if its weights are damaged."""
    try:
        return metrics.is_available(name, place or None)
    except UserError:
        return False


def ways_to_get() -> str:
    network, = metrics.METRICS[SETS[-1]].networks
    return weights.how_to_get(network)
