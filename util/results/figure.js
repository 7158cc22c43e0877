/* Chosen results as a figure: shown on a sheet, printed or saved as PDF by the browser, or saved as PNG. */
/* `source`: rows() are the chosen {name, size, files: {label: address}, stem}, labels(), command(labels) the command
   that writes the same figure, closed(). */
class Figure {
  static SMALLEST = 128;        // pixels of the longer side in a PNG; smaller images are enlarged by a whole factor

  constructor(source) {
    this.source = source;
    this.hidden = new Set();
    this.names = true;
    const button = (text, onclick) => element('button', { type: 'button', onclick }, text);
    this.columns = element('div', { class: 'row', role: 'group', 'aria-label': 'columns' });
    this.sheet = element('div', { class: 'sheet' });
    this.message = element('p', { class: 'soft', role: 'status' });
    this.command = element('code');
    this.copyButton = button('copy', () => this.copy());
    this.byCommand = element('p', { class: 'row command' }, this.command, this.copyButton);
    const withNames = element('input', { type: 'checkbox', checked: true, onchange: event => { this.names = event.target.checked; this.draw(); } });
    this.box = element('main', { id: 'figure', hidden: true },
      element('div', { class: 'controls' }, element('h1', {}, 'Figure'),
        element('div', { class: 'row' }, button('‹ back', () => this.source.closed()), button('print or save as PDF', () => print()), button('save PNG', () => this.savePng()),
          element('label', { class: 'row' }, withNames, 'names of the rows')),
        this.columns, this.message, this.byCommand),
      this.sheet);
    document.body.append(this.box);
  }

  get isOpen() { return !this.box.hidden; }

  show() {
    this.box.hidden = false;
    document.documentElement.classList.add('figuring');
    this.message.textContent = '';
    this.columns.replaceChildren(...this.source.labels().map(label => element('label', { class: 'row' },
      element('input', { type: 'checkbox', checked: !this.hidden.has(label), onchange: event => {
        if (event.target.checked) this.hidden.delete(label); else this.hidden.add(label);
        this.draw();
      } }), label)));
    this.draw();
    scrollTo(0, 0);
  }

  close() {
    this.box.hidden = true;
    document.documentElement.classList.remove('figuring');
  }

  get labels() { return this.source.labels().filter(label => !this.hidden.has(label)); }

  draw() {
    const rows = this.source.rows(), labels = this.labels;
    const cell = (row, label) => element('td', {}, ...(row.files[label] ? [element('img', { src: row.files[label], alt: `${label} of ${row.name}`,
      class: row.size[0] < 400 ? 'coarse' : '' })] : []));
    const name = row => this.names ? [element('th', { scope: 'row' }, row.name)] : [];
    this.sheet.replaceChildren(element('table', {},
      element('thead', {}, element('tr', {}, ...(this.names ? [element('td')] : []), ...labels.map(label => element('th', { scope: 'col' }, label)))),
      element('tbody', {}, ...rows.map(row => element('tr', {}, ...name(row), ...labels.map(label => cell(row, label)))))));
    this.sheet.style.setProperty('--columns', labels.length || 1);
    this.command.textContent = this.source.command(labels, this.names);
  }

  async copy() {
    try {
      await navigator.clipboard.writeText(this.command.textContent);
      this.copyButton.textContent = 'copied';
    } catch {           // not allowed here: select it, so that Ctrl+C copies it
      getSelection().selectAllChildren(this.command);
    }
  }

  async savePng() {
    try {
      const blob = await this.png();
      const link = element('a', { href: URL.createObjectURL(blob), download: 'figure.png' });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      this.message.textContent = 'Saved as figure.png.';
    } catch (error) {
      if (error.name !== 'SecurityError') throw error;
      this.message.textContent = 'The browser does not allow a page on disk to save its pictures as PNG. Print the figure, or run this command, which writes PNG or PDF:';
    }
  }

  /* The figure as a PNG; each image has its own pixels, or a whole number of pixels for each of them. */
  async png() {
    const rows = this.source.rows(), labels = this.labels, gap = 8, font = 14, head = font + 2 * gap;
    const load = async address => { const image = new Image(); image.src = address; await image.decode(); return image; };
    const images = await Promise.all(rows.map(row => Promise.all(labels.map(label => row.files[label] ? load(row.files[label]) : null))));
    const longest = Math.max(...images.flat().filter(Boolean).map(image => Math.max(image.naturalWidth, image.naturalHeight)), 1);
    const scale = Math.max(1, Math.ceil(Figure.SMALLEST / longest));
    const width = (image => image ? image.naturalWidth * scale : 0), height = (image => image ? image.naturalHeight * scale : 0);
    const canvas = document.createElement('canvas'), pen = canvas.getContext('2d');
    const style = `${font}px system-ui, sans-serif`;
    pen.font = style;
    const side = this.names ? Math.min(320, Math.max(...rows.map(row => pen.measureText(row.name).width))) + 2 * gap : gap;
    const widths = labels.map((_, k) => Math.max(...images.map(row => width(row[k]))));
    const heights = images.map(row => Math.max(...row.map(height)));
    const sum = values => values.reduce((a, b) => a + b + gap, 0);
    canvas.width = side + sum(widths);
    canvas.height = head + sum(heights);
    Object.assign(pen, { fillStyle: '#fff', font: style, textBaseline: 'middle', imageSmoothingEnabled: false });
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = '#000';
    labels.forEach((label, k) => pen.fillText(label, side + sum(widths.slice(0, k)), head / 2, widths[k]));
    images.forEach((row, at) => {
      const y = head + sum(heights.slice(0, at));
      if (this.names) pen.fillText(rows[at].name, gap, y + heights[at] / 2, side - 2 * gap);
      row.forEach((image, k) => image && pen.drawImage(image, side + sum(widths.slice(0, k)), y, width(image), height(image)));
    });
    return new Promise((resolve, reject) => {
      try { canvas.toBlob(resolve, 'image/png'); } catch (error) { reject(error); }
    });
  }
}
