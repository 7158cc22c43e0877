"""Entry points of torch.hub: `torch.hub.load(folder, 'translator', 'checkpoints/shoes', source='local')`."""
dependencies = ['torch', 'numpy', 'PIL']


def translator(source, **options):
    """A trained model as a function from images to images; the arguments are those of `models.load_translator`."""
    from models import load_translator
    return load_translator(source, **options)
