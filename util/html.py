"""A simple page of images, with the interface that scripts of the field use, and the style and the viewer of our pages.

The pages of test.py are in results/.
"""
import os
from pathlib import Path
from urllib.parse import quote

import dominate
from dominate import tags

from util.files import atomic_write

SHARED = Path(__file__).with_name('assets')     # style sheets and scripts that several pages use


class HTML:
    """`<web_dir>/index.html`: headings and rows of images, which the caller saves in `<web_dir>/images/`.

    Args:
        title: title of the page.
        refresh: reload the page in the browser every so many seconds; 0 for never.
    """

    def __init__(self, web_dir, title: str, refresh: int = 0):
        self.title = title
        self.web_dir = str(web_dir)
        self.img_dir = os.path.join(self.web_dir, 'images')
        os.makedirs(self.img_dir, exist_ok=True)
        self.doc = dominate.document(title=title)
        if refresh > 0:
            self.doc.head.add(tags.meta(http_equiv='refresh', content=str(refresh)))

    def get_image_dir(self) -> str:
        """The folder for the image files."""
        return self.img_dir

    def add_header(self, text: str):
        self.doc.add(tags.h3(text))

    def add_images(self, ims, txts, links, width: int = 400):
        """Add a row of images: files `ims` inside the image folder, `txts` below them, `links` to files there."""
        row = tags.tr()
        for image, text, link in zip(ims, txts, links, strict=True):
            picture = tags.img(src=address(image), style=f'width:{width}px')
            cell = tags.p(tags.a(picture, href=address(link)), tags.br(), text)
            row.add(tags.td(cell, style='word-wrap: break-word; text-align: center; vertical-align: top;'))
        self.doc.add(tags.table(row, border=1, style='table-layout: fixed;'))

    def save(self):
        """Write the page."""
        with atomic_write(os.path.join(self.web_dir, 'index.html')) as file:
            file.write(self.doc.render())


def address(file) -> str:
    return f'images/{quote(str(file))}'


def page_style() -> str:
    """The style sheet of all our pages (page_style.css), to be followed by the rules of one page."""
    return asset('page_style.css')


def asset(name: str, folder: Path = SHARED) -> str:
    """The text of a style sheet or script: a file of a page, in its `folder`, or one that several pages use."""
    own = folder / name
    return (own if own.is_file() else SHARED / name).read_text(encoding='utf-8')
