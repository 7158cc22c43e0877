"""The pages of a results folder: plain HTML for every browser, and data for the gallery of gallery.js.

`index.html`, `page2.html`, ...  the plain grid, 100 results each
`results.js`                     the summary: what was run, means, failures
`data/0001.js`, ...              the results for the gallery, 100 each
`gallery.js`, `gallery.css`      how the gallery works and looks

Only the last page, the last piece of data and the summary are ever rewritten, so that a result costs the same
however many there are; every file is whole at any moment.
"""
import json
import re
import shutil
from pathlib import Path
from urllib.parse import quote

from dominate import tags

from util.files import atomic_write

PAGE = 100              # results on a page and in a piece of data
FAILURES_SHOWN = 200    # on the page; results.json has all
POLICY = ("default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file:; "
          "script-src 'self' file:; style-src 'self' file: 'unsafe-inline'")
METRIC_NOTES = {'PSNR': 'dB, higher is better', 'SSIM': 'at most 1, higher is better',
                'L1': 'levels of 255, lower is better'}


class Gallery:
    """The pages of one folder. `add` results as they come, `save` now and then and at the end."""

    def __init__(self, folder: Path, title: str, facts: dict[str, str], width: int):
        self.folder, self.title, self.facts, self.width = folder, title, facts, width
        self.count, self.examples, self.failures = 0, {}, []
        self.labels, self.target, self.means = [], None, {}
        self.first_rows, self.rows, self.data = [], [], []
        self.remove_views()
        for name in ('gallery.js', 'gallery.css'):
            shutil.copyfile(Path(__file__).with_name(name), folder / name)

    def remove_views(self):
        """Pages of an earlier turn would show results that are no longer there."""
        for path in (*self.folder.glob('page*.html'), *(self.folder / 'data').glob('*.js')):
            if re.fullmatch(r'page\d+\.html|\d{4,}\.js', path.name):
                path.unlink()
        (self.folder / 'data').mkdir(exist_ok=True)

    def show_above(self, files: dict):
        """Images that head the columns: {label: file, or None for an empty place}."""
        self.examples = files

    def add(self, stem: str, files: dict[str, str], **more):
        """A result and what is told of it: `size`, `thumbs` (as `files`), `metrics`."""
        if self.rows and self.count % PAGE == 0:
            self.save_last(more=True)
            self.rows, self.data = [], []
        self.count += 1
        self.labels += [label for label in files if label not in self.labels]
        self.data.append(as_script(dict(stem=stem, files=files, **more)))
        row = row_of(stem, files, self.width, more.get('metrics'))
        self.rows.append(row)
        if self.count <= PAGE:
            self.first_rows.append(row)

    @property
    def n_pages(self) -> int:
        return max(1, -(-self.count // PAGE))

    def save(self, state: str, seconds: float):
        """Bring all files up to date; `state` is running, finished or interrupted."""
        self.save_last()
        facts = {**self.facts, 'results': f'{self.count:,}', 'failed': f'{len(self.failures):,}',
                 'state': f'{state} after {duration(seconds)}'}
        summary = dict(
            title=self.title, facts=facts, count=self.count, page=PAGE, width=self.width, labels=self.labels,
            legend=legend(self.labels, self.target), target=self.target, means=self.means, notes=METRIC_NOTES,
            examples=self.examples, failures=self.failures[:FAILURES_SHOWN], n_failures=len(self.failures))
        write(self.folder / 'results.js', f'pixmorph.summary({as_script(summary)});\n')
        write(self.folder / 'index.html', self.document(1, self.first_rows, self.n_pages > 1, self.head(summary)))

    def save_last(self, more: bool = False):
        """The last page, but for the first one, and the last piece of data; `more`: another will follow."""
        number = self.n_pages
        if self.data:
            lines = ',\n'.join(self.data)
            write(self.folder / 'data' / f'{number:04d}.js', f'pixmorph.results({number}, [\n{lines}\n]);\n')
        if number > 1:
            write(self.folder / page_name(number), self.document(number, self.rows, more))

    def head(self, summary: dict) -> str:
        """What stands above the first results."""
        facts = (tags.div(tags.dt(name), tags.dd(text)) for name, text in summary['facts'].items())
        parts = [tags.dl(*facts, cls='facts').render(pretty=False)]
        if self.means:
            means = ', '.join(f'{name} {value:.4g} ({METRIC_NOTES[name]})' for name, value in self.means.items())
            parts.append(tags.p(f'Means of {self.target[0]} against {self.target[1]}: {means}').render())
        if summary['legend']:
            parts.append(tags.p('; '.join(f'{label} = {text}' for label, text in summary['legend'].items())).render())
        parts += [tags.p(f'failed: {message}', cls='failed').render() for message in summary['failures']]
        if len(self.failures) > FAILURES_SHOWN:
            parts.append(tags.p(f'{len(self.failures) - FAILURES_SHOWN} more failures are in results.json').render())
        if self.examples:
            parts.append(row_of('examples', self.examples, self.width))
        return '\n'.join(parts)

    def links(self, number: int, more: bool) -> str:
        """To other pages; only the first one is rewritten for ever and knows which is the last."""
        targets = {'first page': number > 1 and 1, 'previous page': number - 1, 'next page': more and number + 1,
                   'last page': number == 1 and more and self.n_pages}
        found = [tags.a(text, href=page_name(target)) for text, target in targets.items() if target]
        return tags.p(*found, cls='pages').render() if found else ''

    def document(self, number: int, rows: list[str], more: bool, head: str = '') -> str:
        """The HTML of a page; with JavaScript the gallery takes the place of the first one's grid."""
        pages = self.links(number, more)
        scripts = [tags.script(src=name).render() for name in ('gallery.js', 'results.js')] if number == 1 else []
        heading = self.title if number == 1 else f'{self.title}, page {number}'
        return '\n'.join([
            '<!DOCTYPE html>', '<html lang="en">', '<head>', tags.meta(charset='utf-8').render(),
            tags.meta(http_equiv='Content-Security-Policy', content=POLICY).render(),
            tags.meta(name='viewport', content='width=device-width, initial-scale=1').render(),
            tags.title(self.title).render(pretty=False), tags.link(rel='stylesheet', href='gallery.css').render(),
            *scripts, '</head>', '<body>', '<main id="plain">', tags.h1(heading).render(pretty=False), head, pages,
            *rows, pages, '</main>', '</body>', '</html>', ''])


def page_name(number: int) -> str:
    return 'index.html' if number == 1 else f'page{number}.html'


def row_of(stem: str, files: dict, width: int, metrics: dict | None = None) -> str:
    """A heading and a table of one row: a picture, linked to its file, above its label."""
    cells = []
    for label, file in files.items():
        if file is None:
            cells.append(tags.td(style=f'min-width:{width}px'))
            continue
        picture = tags.img(src=quote(file), style=f'width:{width}px', alt=label, loading='lazy', decoding='async')
        cells.append(tags.td(tags.p(tags.a(picture, href=quote(file)), tags.br(), label)))
    row = [tags.h3(stem).render(pretty=False), tags.table(tags.tr(*cells), border='1').render(pretty=False)]
    if metrics:
        row.append(tags.p(', '.join(f'{name} {shown(metrics[name])}' for name in metrics)).render(pretty=False))
    return '\n'.join(row)


def shown(value: float | None) -> str:
    """A metric as text; None stands for an infinite one."""
    return '∞' if value is None else f'{value:.4g}'


def legend(labels: list[str], target: tuple[str, str] | None) -> dict[str, str]:
    """What the images are, in the terms of the papers; labels of other models are left out."""
    two_way, munit = 'fake_A' in labels, 'rec_A' in labels and 'fake_A' not in labels
    known = {
        'real': 'the input', 'fake': 'G(real)', 'real_A': 'the input', 'fake_B': 'G(real_A)', 'real_B': 'the target',
        'real_B_rgb': 'the target', 'fake_B_rgb': 'real_A with the colours of G(real_A)'}
    if two_way:
        known.update(fake_B='G_A(real_A)', rec_A='G_B(fake_B)', real_B='an image of B', fake_A='G_B(real_B)',
                     rec_B='G_A(fake_A)')
    if munit:
        known.update(rec_A='content and style of real_A', fake_B='content of real_A, a style of B')
    if target is None and not two_way:
        known.pop('real_B')
    numbered = {'fake_B_k': 'content of real_A, style k of B'} if 'fake_B_0' in labels else {}
    return {label: known[label] for label in labels if label in known} | numbered


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return ' '.join([f'{hours} h'] * bool(hours) + [f'{minutes} min'] * bool(hours or minutes) + [f'{seconds} s'])


def as_script(value) -> str:
    """JSON that is safe inside any HTML or script: no tag can begin in it, and it is all ASCII."""
    return json.dumps(value, allow_nan=False, separators=(',', ':')).replace('<', '\\u003c').replace('>', '\\u003e')


def write(path: Path, text: str):
    with atomic_write(path) as file:
        file.write(text)
