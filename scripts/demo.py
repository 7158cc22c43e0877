"""A page on this machine that translates pictures with a trained model: give one, compare, download.

    python scripts/demo.py shoes                     # then open http://127.0.0.1:7860
    python scripts/demo.py shoes --epoch best --device cuda --port 8000

NAME is a run in --checkpoints_dir, or the folder or .pth file of a model. The page is made by Gradio (pip install
gradio), answers this machine only, and sends nothing to others. For a page that needs no server:
scripts/export.py --format web.
"""
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from options.parser import device_list, whole
from util.cli import Parser, run
from util.console import say
from util.errors import UserError

MOST_PIXELS = 16_000_000


def parse(argv):
    parser = Parser(__doc__)
    parser.add_argument('name', metavar='NAME', help='run, folder or .pth file')
    parser.add_argument('--port', type=whole(0, 65535), default=7860, help='of the page; 0: a free one')
    parser.add_argument('--max_pixels', type=whole(1), default=MOST_PIXELS, metavar='N', help='refuse larger images')
    parser.add_argument('--epoch', default='latest', help='checkpoint')
    parser.add_argument('--eval', action='store_true', help='use running statistics in batch norms, and no dropout')
    parser.add_argument('--no_ema', action='store_true', help='raw weights even if there are moving averages')
    parser.add_argument('--checkpoints_dir', type=Path, default='./checkpoints', metavar='DIR')
    parser.add_argument('--device', default='', help='cpu, cuda, cuda:1, mps or xpu')
    parser.add_argument('--gpu_ids', type=device_list, default=None, help='number of the GPU, -1 for the CPU')
    parser.add_argument('--precision', default='auto', choices=('auto', 'fp32', 'tf32', 'bf16'))
    parser.add_argument('--cpu_threads', type=whole(0, 1024), default=0, help='0: one for each core')
    parser.add_argument('--verbose', action='store_true', help='show the traceback of an error')
    opt = parser.parse_args(argv)
    opt.direction, opt.tile = '', None
    return opt


def need_gradio():
    os.environ.setdefault('GRADIO_ANALYTICS_ENABLED', 'False')
    try:
        import gradio
    except ImportError as error:
        raise UserError(f'the page needs gradio ({error}); pip install gradio') from error
    return gradio


class Demo:
    """What the page computes. Results are written as PNG, or as TIFF where the values need it, to `folder`."""

    def __init__(self, translator, max_pixels: int, folder: Path):
        self.translator, self.folder = translator, folder
        self.files = {name: files_of(translator, name, max_pixels) for name in translator.directions}

    def translate(self, path: str, direction: str, seed: float, style_path: str | None):
        """((picture before, picture after), file of the result) of a file; a `UserError` if it is no image."""
        from translation.pictures import as_picture
        files, source = self.files[direction], Path(path)
        files.check_size(source)
        image = files.read(source)
        style = None
        if self.translator.styled:
            style = files.read_style(Path(style_path)) if style_path else int(seed)
        result = self.translator(image, style, 'auto', direction, source.name)
        target = Path(tempfile.mkdtemp(dir=self.folder)) / source.with_suffix(files.extension(source)).name
        files.write(target, result, source)
        return (as_picture(image), as_picture(result)), str(target)


def files_of(translator, direction: str, max_pixels: int):
    from translation.pictures import Files

    from models.translation.kinds import domains_of
    translation, recipe = translator.translation(direction), translator.recipe(direction)
    return Files.of_training(recipe.training, domains_of(recipe.kind, direction),
                             (translation.channels_in, translation.channels_out), 'png', max_pixels)


def page(demo: Demo, name: str):
    """The page, as `gradio.Blocks`."""
    gradio = need_gradio()
    directions, styled = demo.translator.directions, demo.translator.styled

    def translate(path, direction, seed, style):
        if not path:
            return None, None
        try:
            return demo.translate(path, direction, seed or 0, style)
        except (UserError, OSError) as error:
            message = str(error).replace(f'{Path(path).parent}{os.sep}', '')       # where Gradio put the file
            raise gradio.Error(message, duration=None, print_exception=False) from error

    with gradio.Blocks(title=name) as blocks:
        gradio.Markdown(f'# {name}\nDrop a picture in, and move the slider over it.')
        with gradio.Row():
            with gradio.Column(scale=1):
                source = gradio.File(label='Picture', elem_id='picture')
                direction = gradio.Radio(directions, value=demo.translator.direction, label='Direction',
                                         visible=len(directions) > 1, elem_id='direction')
                seed = gradio.Number(10, label='Number of the random style', precision=0, visible=styled,
                                     elem_id='seed')
                style = gradio.File(label='Or a picture to take the style of', visible=styled, elem_id='style')
            with gradio.Column(scale=3):
                both = gradio.ImageSlider(label='Before and after', format='png', interactive=False, elem_id='both')
                download = gradio.DownloadButton('Download the result', elem_id='download')
        inputs = [source, direction, seed, style]
        gradio.on([one.change for one in inputs], translate, inputs, [both, download], api_name=False)
    return blocks


def main(argv, console):
    opt = parse(argv)
    gradio = need_gradio()
    from translate import load
    translator = load(opt)
    with tempfile.TemporaryDirectory() as folder:
        os.environ['GRADIO_TEMP_DIR'] = folder      # pictures do not stay behind
        try:
            _, address, _ = page(Demo(translator, opt.max_pixels, Path(folder)), Path(opt.name).stem).launch(
                server_name='127.0.0.1', server_port=opt.port or None, share=False, quiet=True,
                prevent_thread_lock=True, allowed_paths=[folder], footer_links=[])
        except OSError as error:
            raise UserError(f'--port {opt.port} cannot be used ({error}); give another one, or 0') from error
        say(f'open {address} in a browser; Ctrl+C ends the page')
        wait()
        gradio.close_all()


def wait():
    """Until Ctrl+C."""
    import threading
    threading.Event().wait()


if __name__ == '__main__':
    sys.exit(run(main))
