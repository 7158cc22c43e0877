"""The pages of a results folder: plain HTML that works everywhere, and the data of the gallery.

`index.html`, `page2.html`, ...  the plain grid, 100 results each
`results.js`                     the summary: what was run, scores, failures
`data/0001.js`, ...              the results for the gallery, 100 each
`gallery.js`, `gallery.css`      code and style of the gallery: the files of this folder, and the viewer and the style
                                 that pages share (util/assets/), in one file each

Only the first and the last page, the last data file and the summary are rewritten, so the cost of a result does not
grow with their number. All files are written atomically.
"""
import json
import re
from pathlib import Path
from urllib.parse import quote

from dominate import tags

from util.console import as_duration
from util.files import atomic_write
from util.html import asset

PAGE = 100              # results per page and per data file
FAILURES_SHOWN = 200    # on the page; results.json lists all
POLICY = ("default-src 'none'; base-uri 'none'; form-action 'none'; img-src 'self' file:; "
          "script-src 'self' file:; style-src 'self' file: 'unsafe-inline'")
METRIC_NOTES = {'PSNR': 'dB, higher is better', 'SSIM': 'at most 1, higher is better',
                'L1': 'of 255, lower is better'}
DECIMALS = {'PSNR': 2, 'SSIM': 4, 'L1': 2}      # of a metric on pages; others have 4
SCRIPTS = ('element.js', 'viewer.js', 'figure.js', 'gallery.js')
STYLES = ('page_style.css', 'viewer.css', 'gallery.css')


class Gallery:
    """The pages of one folder: `add` every result, `save` from time to time and at the end.

    Args:
        facts: {name: value} lines at the top of the page.
        width: width of the images on the plain page, in pixels.
        heading: the heading of the page; the title if empty.
    """

    def __init__(self, folder: Path, title: str, facts: dict[str, str], width: int, heading: str = ''):
        self.folder = folder
        self.title = title
        self.heading = heading or title
        self.facts = facts
        self.width = width
        self.about = ''         # a sentence about the results
        self.domains = {}       # {'A': 'day', 'B': 'night'}: names of the domains
        self.training = None    # {'page': address of the page of the training, 'probe': address of an image of it}
        self.count = 0
        self.names = []         # of all visuals
        self.directions = []    # of the lists
        self.examples = {}
        self.failures = []
        self.target = None
        self.means = {}
        self.spread = {}        # {metric: {'median', 'std', 'low', 'high', 'n'}}
        self.decimals = DECIMALS
        self.notes = METRIC_NOTES
        self.more = {}          # further entries of the summary, of a comparison of runs
        self.first_rows = []    # (direction, HTML) of the rows of page 1
        self.rows = []          # of the last page
        self.data = []          # results of the last data file
        self.remove_old_pages()
        for name, parts in (('gallery.js', SCRIPTS), ('gallery.css', STYLES)):
            write(folder / name, '\n'.join(asset(part, Path(__file__).parent) for part in parts))

    def remove_old_pages(self):
        """Remove the pages of an earlier test, which would show results that no longer exist."""
        for path in (*self.folder.glob('page*.html'), *(self.folder / 'data').glob('*.js')):
            if re.fullmatch(r'page\d+\.html|\d{4,}\.js', path.name):
                path.unlink()
        (self.folder / 'data').mkdir(exist_ok=True)

    def show_above(self, files: dict):
        """Images above the columns, {name: file}; None leaves a place empty."""
        self.examples = files

    def add(self, stem: str, files: dict[str, str], size: tuple[int, int], thumbs: dict[str, str] | None = None,
            metrics: dict[str, float | None] | None = None, scores: dict[str, dict] | None = None,
            direction: str = ''):
        """Add a result: `files` and `thumbs` are {name: file}, `size` is (width, height) of the images.

        `metrics` are those of the result, by which it is sorted; `scores` {name: {metric: value}} those of each file.
        Results with different `direction` are shown in lists of their own.
        """
        if self.rows and self.count % PAGE == 0:
            self.save_last(more=True)
            self.rows = []
            self.data = []
        self.count += 1
        self.names += [name for name in files if name not in self.names]
        result = dict(stem=stem, files=files, size=size)
        if thumbs:
            result['thumbs'] = thumbs
        if metrics:
            result['metrics'] = metrics
        if scores:
            result['scores'] = scores
        if direction not in self.directions:
            self.directions.append(direction)
        if direction:
            result['direction'] = direction
        self.data.append(as_script(result))
        row = direction, self.row_of(stem, files, metrics)
        self.rows.append(row)
        if self.count <= PAGE:
            self.first_rows.append(row)

    @property
    def n_pages(self) -> int:
        return max(1, -(-self.count // PAGE))

    def save(self, state: str, seconds: float):
        """Update all files; `state` is running, finished or interrupted, or '' for a page that is not of a test."""
        self.save_last()
        facts = {**self.facts, **({'state': f'{state} after {as_duration(seconds)}'} if state else {})}
        if len(self.directions) > 1 and self.domains:       # the lists say it
            facts.pop('direction', None)
        summary = dict(
            title=self.title, heading=self.heading, facts=facts, about=self.about, training=self.training,
            count=self.count, directions=self.directions, page=PAGE, width=self.width, labels=self.names,
            legend=legend(self.names, self.target, self.domains), target=self.target, means=self.means,
            spread=self.spread, notes=self.notes, decimals=self.decimals, examples=self.examples,
            failures=self.failures[:FAILURES_SHOWN], n_failures=len(self.failures), **self.more)
        write(self.folder / 'results.js', f'pixmorph.summary({as_script(summary)});\n')
        write(self.folder / 'index.html', self.document(1, self.first_rows, self.n_pages > 1, self.head(summary)))

    def save_last(self, more: bool = False):
        """Write the last data file, and the last page unless it is page 1; `more`: another page follows."""
        number = self.n_pages
        if self.data:
            lines = ',\n'.join(self.data)
            write(self.folder / 'data' / f'{number:04d}.js', f'pixmorph.results({number}, [\n{lines}\n]);\n')
        if number > 1:
            write(self.folder / page_name(number), self.document(number, self.rows, more))

    def head(self, summary: dict) -> str:
        """The HTML above the first results."""
        facts = (tags.div(tags.dt(name), tags.dd(text)) for name, text in summary['facts'].items())
        parts = [tags.dl(*facts, cls='facts').render(pretty=False)]
        if self.about:
            parts.append(tags.p(self.about).render(pretty=False))
        if 'table' in self.more:
            parts.append(table_of(self.more['table']))
        elif self.means:
            means = ', '.join(f'{name} {self.shown(name, value)} ({METRIC_NOTES[name]})'
                              for name, value in self.means.items())
            parts.append(tags.p(f'Means, {self.target[0]} compared with {self.target[1]}: {means}').render())
        if summary['legend']:
            parts.append(tags.p('; '.join(f'{name} = {text}' for name, text in summary['legend'].items())).render())
        parts += [tags.p(f'failed: {message}', cls='failed').render() for message in summary['failures']]
        if len(self.failures) > FAILURES_SHOWN:
            parts.append(tags.p(f'{len(self.failures) - FAILURES_SHOWN} more failures are in results.json').render())
        if self.examples:
            parts.append(self.row_of('examples', self.examples))
        return '\n'.join(parts)

    def links(self, number: int, more: bool) -> str:
        """Links to other pages. Only page 1 is rewritten until the end, so only it links to the last page."""
        targets = {}
        if number > 1:
            targets.update({'first page': 1, 'previous page': number - 1})
        if more:
            targets['next page'] = number + 1
        if more and number == 1:
            targets['last page'] = self.n_pages
        found = [tags.a(text, href=page_name(target)) for text, target in targets.items()]
        return tags.p(*found, cls='pages').render() if found else ''

    def document(self, number: int, rows: list[str], more: bool, head: str = '') -> str:
        """The HTML of a page. With JavaScript, the gallery replaces the grid of page 1."""
        pages = self.links(number, more)
        scripts = [tags.script(src=name).render() for name in ('gallery.js', 'results.js')] if number == 1 else []
        heading = self.heading if number == 1 else f'{self.heading}, page {number}'
        return '\n'.join([
            '<!DOCTYPE html>', '<html lang="en">', '<head>', tags.meta(charset='utf-8').render(),
            tags.meta(http_equiv='Content-Security-Policy', content=POLICY).render(),
            tags.meta(name='viewport', content='width=device-width, initial-scale=1').render(),
            tags.title(self.title).render(pretty=False), tags.link(rel='stylesheet', href='gallery.css').render(),
            *scripts, '</head>', '<body>', '<main id="plain">', tags.h1(heading).render(pretty=False), head, pages,
            *grouped(rows), pages, '</main>', '</body>', '</html>', ''])

    def row_of(self, stem: str, files: dict, metrics: dict | None = None) -> str:
        """A heading and a table of one row: pictures that link to their files, with their names below."""
        cells = []
        for name, file in files.items():
            if file is None:
                cells.append(tags.td(style=f'min-width:{self.width}px'))
                continue
            picture = tags.img(src=quote(file), style=f'width:{self.width}px', alt=name, loading='lazy',
                               decoding='async')
            cells.append(tags.td(tags.p(tags.a(picture, href=quote(file)), tags.br(), name)))
        row = [tags.h3(stem).render(pretty=False), tags.table(tags.tr(*cells), border='1').render(pretty=False)]
        if metrics:
            texts = (f'{name} {self.shown(name, value)}' for name, value in metrics.items())
            row.append(tags.p(', '.join(texts)).render(pretty=False))
        return '\n'.join(row)

    def shown(self, name: str, value: float | None) -> str:
        """A metric as text; None means infinite."""
        return '∞' if value is None else f'{value:.{self.decimals.get(name, 4)}f}'


def page_name(number: int) -> str:
    return 'index.html' if number == 1 else f'page{number}.html'


def grouped(rows: list[tuple[str, str]]) -> list[str]:
    """The HTML of rows (direction, HTML), a list for each direction."""
    directions = dict.fromkeys(direction for direction, _ in rows)
    found = []
    for direction in directions:
        found.append(tags.h2(direction or 'Results').render(pretty=False))
        found += [row for other, row in rows if other == direction]
    return found


def table_of(table: dict) -> str:
    """The metrics of compared runs, {'head': [cell, ...], 'rows': [[cell, ...], ...]}; cells {'text', 'best'}."""
    rows = [tags.tr(*(tags.td(tags.b(cell['text']) if cell.get('best') else cell['text']) for cell in row))
            for row in table['rows']]
    head = tags.tr(*(tags.th(cell['text']) for cell in table['head']))
    return tags.table(head, *rows, border='1').render(pretty=False)


def legend(names: list[str], target: tuple[str, str] | None, domains: dict[str, str] | None = None) -> dict[str, str]:
    """{name: what it is, in the notation of the papers} for the visuals that are known."""
    A, B = (f' ({domains[domain]})' if domains else '' for domain in 'AB')
    guide = domains['B'] if domains else 'B'
    known = {
        'real': f'the input{A}', 'fake': f'G(real){B}', 'real_A': f'the input{A}', 'fake_B': f'G(real_A){B}',
        'real_B': f'the target{B}', 'real_B_rgb': 'the target', 'fake_B_rgb': 'real_A with the colors of G(real_A)'}
    if 'fake_A' in names:       # translated both ways
        known.update(fake_B=f'G_A(real_A){B}', rec_A=f'G_B(fake_B){A}', real_B=f'the input{B}',
                     fake_A=f'G_B(real_B){A}', rec_B=f'G_A(fake_A){B}')
    elif target is None:
        known.pop('real_B')
    if 'rec_A' in names and 'fake_A' not in names:      # content and style codes
        known.update(rec_A='content and style of real_A', fake_B=f'content of real_A, a style of {guide}')
    elif 'rec_B' in names and 'fake_A' not in names:    # styles of B, one of them that of the target
        known.update(rec_B=f'content of real_A, style of {"real_B" if target else guide}',
                     fake_B=f'content of real_A, a style of {guide}')
    found = {name: known[name] for name in names if name in known}
    if 'fake_B_0' in names:
        found['fake_B_k'] = f'content of real_A, style k of {guide}'
    return found


def as_script(value) -> str:
    """ASCII JSON that is safe inside HTML and scripts, because it contains no < and >."""
    return json.dumps(value, allow_nan=False, separators=(',', ':')).replace('<', '\\u003c').replace('>', '\\u003e')


def write(path: Path, text: str):
    with atomic_write(path) as file:
        file.write(text)
