"""One HTML file with the problems of a dataset and a thumbnail of each file."""
import base64
import io
import os
from pathlib import Path

import dominate
from dominate import tags

from data.image_folder import read_picture
from util.errors import UserError
from util.files import AUTHOR, atomic_write

from .problems import Problem

SHOWN = 24          # files per problem
SIDE = 128          # of a thumbnail
STYLE = '''
body { font-family: sans-serif; margin: 1.5em; background: #fff; color: #222; max-width: 70em }
h2 { font-size: 1.1em; margin-top: 1.5em } p { overflow-wrap: anywhere }
.fails { color: #b00020 } .note { color: #8a5a00 } .fine { color: #1a7030 }
.files { display: flex; flex-wrap: wrap; gap: 12px }
figure { width: 150px; margin: 0 } figcaption { font-size: .75em; overflow-wrap: anywhere }
.picture { height: 128px; display: flex; align-items: center; justify-content: center; background: #8882 }
@media (prefers-color-scheme: dark) {
  body { background: #181818; color: #ddd } .fails { color: #ff6b7a } .note { color: #e0a840 } .fine { color: #70c080 }
}
'''


def write_report(path, dataroot, lines: list[str], problems: list[Problem], max_pixels: int) -> Path:
    """Write the page and return its path. File names are escaped; thumbnails are embedded."""
    title = f'Dataset {page_text(os.path.abspath(dataroot))}'
    document = dominate.document(title=title)
    with document.head:
        tags.meta(charset='utf-8')
        tags.meta(name='generator', content=AUTHOR)
        tags.meta(name='viewport', content='width=device-width, initial-scale=1')
        tags.meta(http_equiv='Content-Security-Policy', content="default-src 'none'; img-src data:; "
                                                                "style-src 'unsafe-inline'")
        tags.style(STYLE)
    document.add(tags.h1(title))
    for line in lines:
        document.add(tags.p(page_text(line)))
    if not problems:
        document.add(tags.p('No problems were found.', cls='fine'))
    for problem in problems:
        document.add(section(problem, max_pixels))
    with atomic_write(path) as file:
        file.write(document.render())
    return Path(path).absolute()


def section(problem: Problem, max_pixels: int):
    word, style = ('training would fail', 'fails') if problem.fatal else ('note', 'note')
    shown = list(problem.files.items())[:SHOWN]
    found = tags.section(tags.h2(f'{word}: {problem.kind}', cls=style), tags.p(page_text(problem.sentence)),
                         tags.div(*(figure(path, note, max_pixels) for path, note in shown), cls='files'))
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
