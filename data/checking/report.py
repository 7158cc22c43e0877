"""One HTML file with the problems of a dataset and a thumbnail of each file."""
import base64
import io
import os
from pathlib import Path

import dominate
from dominate import tags
from dominate.util import raw

from data.image_folder import read_picture
from util.errors import UserError
from util.files import AUTHOR, atomic_write
from util.html import page_style

from .problems import Problem

SHOWN = 24          # files per problem
SIDE = 128          # of a thumbnail
STYLE = '''
main { max-width: 110rem; margin: 0 auto }
.facts { display: block } .facts li { margin: .15rem 0 }
h2 { display: flex; flex-wrap: wrap; gap: .3rem .7rem; align-items: center }
.kind { border-radius: 6px; padding: .1rem .5rem; font-size: .86rem; background: var(--note) }
.kind.fails { background: var(--bad); color: var(--card) }
.files { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(46%, 10rem), 1fr)); gap: .8rem;
  margin-top: .7rem }
.picture { height: 9rem; display: flex; align-items: center; justify-content: center; background: var(--page);
  border-radius: 6px }
.picture img { max-width: 100%; max-height: 100% }
'''


def write_report(path, dataroot, lines: list[str], problems: list[Problem], max_pixels: int) -> Path:
    """Write the page and return its path. File names are escaped; thumbnails are embedded."""
    title = f'Dataset {page_text(os.path.abspath(dataroot))}'
    document = dominate.document(title=title, lang='en')
    with document.head:
        tags.meta(charset='utf-8')
        tags.meta(name='generator', content=AUTHOR)
        tags.meta(name='viewport', content='width=device-width, initial-scale=1')
        tags.meta(http_equiv='Content-Security-Policy', content="default-src 'none'; img-src data:; "
                                                                "style-src 'unsafe-inline'")
        tags.style(raw(page_style() + STYLE))
    page = document.add(tags.main(tags.h1(title)))
    page.add(tags.p(in_short(problems), cls='bad' if failing(problems) else 'good'))
    page.add(tags.ul(*(tags.li(page_text(line)) for line in lines), cls='facts'))
    for problem in sorted(problems, key=lambda problem: not problem.fatal):
        page.add(section(problem, max_pixels))
    with atomic_write(path) as file:
        file.write(document.render())
    return Path(path).absolute()


def failing(problems: list[Problem]) -> int:
    return sum(problem.fatal for problem in problems)


def in_short(problems: list[Problem]) -> str:
    if not problems:
        return 'No problems were found.'
    notes = len(problems) - failing(problems)
    counts = [f'{n} {word if n == 1 else word + "s"}'
              for n, word in ((failing(problems), 'problem'), (notes, 'note')) if n]
    return f'{" and ".join(counts)}: training would {"fail" if failing(problems) else "run"}.'


def section(problem: Problem, max_pixels: int):
    word, style = ('training would fail', 'kind fails') if problem.fatal else ('note', 'kind')
    shown = list(problem.files.items())[:SHOWN]
    found = tags.section(tags.h2(problem.kind, tags.span(word, cls=style)), tags.p(page_text(problem.sentence)),
                         cls='card')
    if shown:
        found.add(tags.div(*(figure(path, note, max_pixels) for path, note in shown), cls='files'))
    if len(problem.files) > len(shown):
        found.add(tags.p(f'{len(problem.files) - len(shown)} more of {len(problem.files)} files are not shown'))
    return found


def figure(path: str, note: str, max_pixels: int):
    picture = thumbnail(path, max_pixels)
    name = page_text(os.path.basename(path))
    shown = tags.img(src=picture, alt=name) if picture else tags.span('no picture')
    return tags.figure(tags.div(shown, cls='picture'), tags.figcaption(name, tags.br(), page_text(note)))


def thumbnail(path: str, max_pixels: int) -> str:
    """A small PNG as a data URL; '' if the image cannot be read."""
    try:
        image = read_picture(path, max_pixels)
    except UserError:
        return ''
    image.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    image.save(data, 'PNG')
    return f'data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}'


def page_text(text: str) -> str:
    """The text for a page, with undecodable bytes and characters that are not printable replaced."""
    text = text.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')
    return ''.join(letter if letter.isprintable() else '\ufffd' for letter in text)
