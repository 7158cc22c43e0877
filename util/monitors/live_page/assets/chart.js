function short(value) {
  if (value === null || value === undefined) return '-';
  const size = Math.abs(value);
  if (size >= 1e4 || (size < 1e-3 && size > 0)) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

function thousands(value) {
  if (value >= 1e6) return Number((value / 1e6).toPrecision(3)) + ' M';
  return value >= 1e4 ? Number((value / 1e3).toPrecision(3)) + ' k' : String(Math.round(value));
}

function ticks(low, high, count) {      // round numbers in an interval
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw) || 10 * power;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

function decades(low, high) {           // ticks of a log scale, as exponents
  const factors = high - low < 3 ? [1, 2, 5] : [1], found = [];
  for (let power = Math.floor(low); power <= high; power++) found.push(...factors.map(f => power + Math.log10(f)));
  return found.filter(t => t >= low && t <= high);
}

function smoothed(values, width) {      // mean of each value and the ones before it; gaps stay gaps
  if (width < 2) return values;
  return values.map((value, i) => {
    if (value === null) return null;
    const near = values.slice(Math.max(0, i - width + 1), i + 1).filter(v => v !== null);
    return near.reduce((a, b) => a + b, 0) / near.length;
  });
}

// Pixels of the text of an axis: 12 where the page has 15, as on most screens.
const fontSize = () => Math.round(0.8 * parseFloat(getComputedStyle(document.documentElement).fontSize));

// Whether a value is isolated: there is no neighbor to draw a line to.
function alone(values, k) { return [-1, 0, 1].map(d => (values[k + d] ?? null) === null).join() === 'true,false,true'; }

// Curves with the values at the pointer, a legend that hides curves, a log scale and zoom.
// set([{label, x: [...], y: [... or null], epoch: [...]}]) redraws them and keeps zoom, scale and hidden curves.
class Chart {
  constructor(box) {
    this.series = []; this.hidden = new Set(); this.log = false; this.width = 1; this.zoom = null; this.drag = null; this.fromZero = true;
    this.canvas = element('canvas', {tabindex: 0, role: 'img', 'aria-label': 'curves; drag to zoom, double-click to reset'});
    this.tip = element('div', {class: 'tip', hidden: true});
    this.legend = element('div', {class: 'legend'});
    this.logButton = element('button', {type: 'button', onclick: () => this.toggleLog()}, 'log scale');
    this.all = element('button', {type: 'button', hidden: true, onclick: () => this.show(null)}, 'whole run');
    this.smooth = element('input', {type: 'range', min: 1, max: 50, value: 1, style: 'flex: 0 1 10rem; min-width: 6rem',
      oninput: () => { this.width = Number(this.smooth.value); this.draw(); }});
    box.append(element('div', {class: 'controls'}, this.logButton, this.all, element('label', {class: 'soft'}, 'smoothing ', this.smooth),
      element('span', {class: 'soft'}, 'drag to zoom, double-click to reset')), element('div', {class: 'chart'}, this.canvas, this.tip), this.legend);
    this.listen();
  }

  listen() {
    const canvas = this.canvas;
    const at = event => event.clientX - canvas.getBoundingClientRect().left;
    canvas.onpointerdown = event => { this.drag = [at(event), at(event)]; canvas.setPointerCapture(event.pointerId); };
    canvas.onpointermove = event => {
      if (this.drag) this.drag[1] = at(event);
      this.draw(at(event));
    };
    canvas.onpointerup = () => {
      const [from, to] = this.drag || [0, 0];
      this.drag = null;
      if (Math.abs(to - from) > 8) this.show([this.valueAt(Math.min(from, to)), this.valueAt(Math.max(from, to))]);
      else this.draw(to);
    };
    canvas.onpointercancel = canvas.onpointerleave = () => { this.drag = null; this.draw(); };
    canvas.ondblclick = () => this.show(null);
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.drawLegend());
  }

  set(series) {
    const names = series.map(s => s.label + s.y.some((_, k) => alone(s.y, k))).join('\n');
    const changed = names !== this.names;
    this.series = series; this.names = names;
    if (changed) this.drawLegend();
    this.draw();
  }

  show(range) { this.zoom = range; this.all.hidden = !range; this.draw(); }

  toggleLog() { this.log = !this.log; this.logButton.classList.toggle('on', this.log); this.draw(); }

  // A series may set its own `hue` and `line`, to show which ones belong together.
  color(i) {
    const color = COLORS[(this.series[i].hue ?? i) % COLORS.length];
    if (!matchMedia('(prefers-color-scheme: dark)').matches) return color;
    const lighter = [1, 3, 5].map(at => Math.round(0.65 * parseInt(color.slice(at, at + 2), 16) + 0.35 * 255));
    return `rgb(${lighter})`;
  }

  line(i) { return this.series[i].line ?? Math.floor(i / COLORS.length); }

  dash(i) { return [[], [7, 4], [2, 3], [9, 3, 2, 3]][this.line(i) % 4]; }

  drawMarker(pen, i, x, y) {            // an isolated point: there is no line that could be dashed
    const [corners, degrees] = MARKERS[this.line(i) % MARKERS.length];
    pen.beginPath();
    for (let k = 0; k < corners; k++) {
      const angle = 2 * Math.PI * (k / corners + degrees / 360);
      pen.lineTo(x + 5 * Math.sin(angle), y - 5 * Math.cos(angle));
    }
    pen.fill();
  }

  // The line of a curve in the legend, with its marker if it has isolated points.
  sample(i) {
    const canvas = element('canvas'), ratio = window.devicePixelRatio || 1, y = this.series[i].y;
    canvas.width = 30 * ratio; canvas.height = 12 * ratio;
    const pen = canvas.getContext('2d');
    pen.scale(ratio, ratio);
    pen.strokeStyle = pen.fillStyle = this.color(i); pen.lineWidth = 3; pen.setLineDash(this.dash(i));
    pen.beginPath(); pen.moveTo(0, 6); pen.lineTo(30, 6); pen.stroke();
    if (y.some((_, k) => alone(y, k))) this.drawMarker(pen, i, 15, 6);
    return canvas;
  }

  drawLegend() {
    this.legend.replaceChildren(...this.series.map((series, i) => {
      const button = element('button', {title: 'click: hide or show; double-click: show only this one'}, this.sample(i), series.label);
      button.onclick = () => { if (!this.hidden.delete(series.label)) this.hidden.add(series.label); this.press(); };
      button.ondblclick = () => { this.hidden = new Set(this.series.map(s => s.label).filter(l => l !== series.label)); this.press(); };
      return button;
    }));
    this.press();
  }

  press() {
    [...this.legend.children].forEach((button, i) => button.setAttribute('aria-pressed', String(!this.hidden.has(this.series[i].label))));
    this.draw();
  }

  // The visible curves, smoothed, and the ranges of x and y to show.
  prepare() {
    const shown = this.series.map((s, i) => ({...s, i, y: smoothed(s.y, this.width)})).filter(s => !this.hidden.has(s.label));
    const ends = shown.flatMap(s => s.x.length ? [s.x[0], s.x[s.x.length - 1]] : []);
    const [x0, x1] = this.zoom || [Math.min(0, ...ends), Math.max(1, ...ends)];
    let low = Infinity, high = -Infinity;
    for (const s of shown) s.y.forEach((y, k) => {
      if (y === null || s.x[k] < x0 || s.x[k] > x1 || (this.log && y <= 0)) return;
      low = Math.min(low, y); high = Math.max(high, y);
    });
    if (low > high) [low, high] = this.log ? [0.1, 1] : [0, 1];
    if (this.log) [low, high] = [Math.log10(low), Math.log10(high)];
    else if (low > 0 && this.fromZero) low = 0;
    const margin = 0.05 * (Math.max(high - low, Math.abs(high) / 1000) || 1);
    return {shown, x0, x1: Math.max(x1, x0 + 1), low: low - (low ? margin : 0), high: high + margin};
  }

  valueAt(px) { const v = this.view; return v ? v.x0 + (px - v.left) / (v.right - v.left) * (v.x1 - v.x0) : 0; }

  draw(pointer = null) {
    const canvas = this.canvas, ratio = window.devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    if (!w) return;
    canvas.width = w * ratio; canvas.height = h * ratio;
    const pen = canvas.getContext('2d'), style = getComputedStyle(canvas), size = fontSize();
    pen.scale(ratio, ratio);
    const v = this.view = {...this.prepare(), left: 4.5 * size, right: w - 18, top: 8, bottom: h - 2.9 * size};
    const X = x => v.left + (x - v.x0) / (v.x1 - v.x0) * (v.right - v.left);
    const Y = y => v.bottom - ((this.log ? Math.log10(y) : y) - v.low) / (v.high - v.low) * (v.bottom - v.top);
    this.drawAxes(pen, v, X, style);
    pen.save();
    pen.beginPath(); pen.rect(v.left, v.top, v.right - v.left, v.bottom - v.top); pen.clip();
    for (const s of v.shown) this.drawCurve(pen, s, X, Y);
    if (this.drag) { pen.fillStyle = 'rgba(120,150,220,.25)'; pen.fillRect(this.drag[0], v.top, this.drag[1] - this.drag[0], v.bottom - v.top); }
    pen.restore();
    for (const s of v.shown) this.drawAlone(pen, s, v, X, Y);
    this.drawTip(pen, v, X, Y, pointer, style);
  }

  drawAxes(pen, v, X, style) {
    const soft = style.getPropertyValue('--soft'), line = style.getPropertyValue('--line');
    pen.font = `${fontSize()}px system-ui, sans-serif`; pen.fillStyle = soft; pen.strokeStyle = line; pen.lineWidth = 1;
    pen.textAlign = 'right'; pen.textBaseline = 'middle';
    for (const t of this.log ? decades(v.low, v.high) : ticks(v.low, v.high, 5)) {
      const y = v.bottom - (t - v.low) / (v.high - v.low) * (v.bottom - v.top);
      pen.beginPath(); pen.moveTo(v.left, y); pen.lineTo(v.right, y); pen.stroke();
      pen.fillText(short(this.log ? 10 ** t : t), v.left - 6, y);
    }
    pen.textAlign = 'center'; pen.textBaseline = 'top';
    for (const t of ticks(v.x0, v.x1, Math.max(2, Math.floor((v.right - v.left) / 110))).filter(Number.isInteger)) pen.fillText(thousands(t), X(t), v.bottom + 5);
    pen.fillText('images seen', (v.left + v.right) / 2, v.bottom + 1.6 * fontSize());
  }

  drawCurve(pen, s, X, Y) {
    pen.strokeStyle = pen.fillStyle = this.color(s.i); pen.lineWidth = 1.6; pen.setLineDash(this.dash(s.i));
    pen.beginPath();
    const shown = this.visible(s.y);
    shown.forEach((y, k) => { if (y !== null) pen[(shown[k - 1] ?? null) === null ? 'moveTo' : 'lineTo'](X(s.x[k]), Y(y)); });
    pen.stroke(); pen.setLineDash([]);
  }

  drawAlone(pen, s, v, X, Y) {           // not clipped: the only point of a run is on the edge
    const shown = this.visible(s.y);
    pen.fillStyle = this.color(s.i);
    shown.forEach((y, k) => { if (s.x[k] >= v.x0 && s.x[k] <= v.x1 && alone(shown, k)) this.drawMarker(pen, s.i, X(s.x[k]), Y(y)); });
  }

  visible(values) { return this.log ? values.map(y => y > 0 ? y : null) : values; }

  drawTip(pen, v, X, Y, pointer, style) {
    this.tip.hidden = pointer === null || !v.shown.some(s => s.x.length);
    if (this.tip.hidden) return;
    const x = this.valueAt(pointer), lines = [];
    let head = '';
    for (const s of v.shown) {
      if (!s.x.length) continue;
      let k = 0;
      s.x.forEach((other, j) => { if (Math.abs(other - x) < Math.abs(s.x[k] - x)) k = j; });
      head = head || `${Math.round(s.x[k])} images` + (s.epoch ? `, epoch ${s.epoch[k]}` : '');
      if (s.y[k] === null) continue;
      lines.push(element('div', {style: `color: ${this.color(s.i)}`}, `${s.label}: ${short(s.y[k])}`));
      if (!(this.log && s.y[k] <= 0)) { pen.fillStyle = this.color(s.i); pen.fillRect(X(s.x[k]) - 2.5, Y(s.y[k]) - 2.5, 5, 5); }
    }
    pen.strokeStyle = style.getPropertyValue('--soft');
    pen.beginPath(); pen.moveTo(pointer, v.top); pen.lineTo(pointer, v.bottom); pen.stroke();
    this.tip.replaceChildren(element('b', {}, head), ...lines);
    const left = pointer > (v.left + v.right) / 2;
    this.tip.style.left = left ? (v.left + 6) + 'px' : 'auto';
    this.tip.style.right = left ? 'auto' : '16px';
  }
}
