"""Pages of images."""
from pathlib import Path
from urllib.parse import quote

import dominate
from dominate import tags

from util.files import atomic_write

STYLE = '''
body { font-family: sans-serif; margin: 1.5em; background: #fff; color: #222 }
table { border-collapse: collapse; margin-bottom: 1em; table-layout: fixed }
td { border: 1px solid #bbb; padding: 4px; text-align: center; vertical-align: top; word-wrap: break-word }
p { margin: 4px 0 } h3 { margin: 1em 0 .3em; font-weight: normal }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } td { border-color: #555 } }
'''


class Page:
    """A page with a heading and a row of labelled images for each thing shown; links are relative."""

    def __init__(self, folder, title: str, refresh: int = 0):
        self.folder, self.title, self.refresh = Path(folder), title, refresh
        self.rows, self.notes = [], []

    def add_row(self, heading: str, images: dict[str, str], width: int):
        """`images`: {label: file relative to the page, or None for an empty place}; `width` in pixels."""
        self.rows.append((heading, images, width))

    def save(self, newest_first: bool = False) -> Path:
        """Write `index.html`; a reader never sees half a page."""
        document = dominate.document(title=self.title)
        with document.head:
            tags.meta(charset='utf-8')
            tags.meta(name='viewport', content='width=device-width, initial-scale=1')
            if self.refresh:
                tags.meta(http_equiv='refresh', content=str(self.refresh))
            tags.style(STYLE)
        document.add(tags.h1(self.title))
        for note in self.notes:
            document.add(tags.p(note))
        for heading, images, width in reversed(self.rows) if newest_first else self.rows:
            document.add(tags.h3(heading), table(images, width))
        path = self.folder / 'index.html'
        with atomic_write(path) as file:
            file.write(document.render())
        return path.absolute()


def table(images: dict[str, str], width: int):
    cells = []
    for label, file in images.items():
        if file is None:
            cells.append(tags.td(style=f'min-width:{width}px'))
            continue
        link = quote(file)
        picture = tags.a(tags.img(src=link, style=f'width:{width}px', alt=label, loading='lazy'), href=link)
        cells.append(tags.td(tags.p(picture, tags.br(), tags.p(label))))
    return tags.table(tags.tr(*cells), border='1')
