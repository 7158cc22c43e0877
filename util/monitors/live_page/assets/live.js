// The page of a training run. data.js calls pixmorph(data); it is loaded again and again during training.
const EVERY = 3000;                 // milliseconds between two loads of data.js
const page = {data: null, heard: 0, since: Date.now(), polling: true, snapshot: null, shownEpochs: 20, rows: new Map()};

function part(title, id) {
  const box = element('section', {id}, element('h2', {textContent: title}));
  document.getElementById('live').append(box);
  return box;
}

function content(box, ...nodes) {       // replaces everything but the heading
  while (box.children.length > 1) box.lastChild.remove();
  box.append(...nodes);
}

function time(seconds) {
  const s = Math.round(seconds), d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${m} min`;
  return m ? `${m} min ${s % 60} s` : `${s} s`;
}

function picture(file, label, width, version) {
  const link = file.split('/').map(encodeURIComponent).join('/') + (version ? `?v=${version}` : '');
  const image = element('img', {src: link, alt: label, loading: 'lazy', style: {width: width + 'px'}});
  return element('figure', {}, element('a', {href: link}, image), element('figcaption', {textContent: label}));
}

// If both directions are translated, each has a row: real_A and the images made from it, then real_B.
const ORDER = ['real_A', 'fake_B', 'rec_A', 'idt_B', 'real_B', 'fake_A', 'rec_B', 'idt_A'];

function inRows(files) {
  if (!files.some(([label]) => label === 'fake_A')) return [files];
  const place = ([label]) => (ORDER.indexOf(label) + ORDER.length + 1) % (ORDER.length + 1);   // others come last
  const sorted = [...files].sort((a, b) => place(a) - place(b)), split = sorted.findIndex(file => place(file) >= 4);
  return [sorted.slice(0, split), sorted.slice(split)].filter(row => row.length);
}

// One row, or several of equal length: at most 6 images in each, 3 on a phone.
function pictureRow(files, width, version = 0) {
  const columns = most => Math.ceil(files.length / Math.ceil(files.length / most)), row = element('div', {className: 'pictures'},
    ...files.map(([label, file]) => picture(file, label, width, version)));
  row.style.setProperty('--columns', columns(6));
  row.style.setProperty('--few', columns(3));
  return row;
}

const pictureRows = (files, width, version) => element('div', {}, ...inRows(files).map(row => pictureRow(row, width, version)));

const epochFile = (epoch, label) => `images/epoch${String(epoch).padStart(3, '0')}_${label}.png`;
const epochFiles = (data, epoch) => data.labels.map(label => [label, epochFile(epoch, label)]);
const epochsOf = data => data.epochs.flatMap(([a, b]) => Array.from({length: b - a + 1}, (_, i) => a + i)).reverse();

function silence(data) {                // seconds without an update if that is longer than usual, otherwise 0
  const quiet = (Date.now() - page.heard) / 1000;
  return quiet > 60 + 5 * data.expected ? quiet : 0;
}

function showState(data) {
  const p = data.progress, alive = data.state === 'running', silent = alive && silence(data);
  const text = silent ? `no update since ${new Date(data.updated * 1000).toLocaleString()}` : data.state;
  const tone = silent || data.state.startsWith('failed') ? 'trouble' : 'running';
  const again = element('button', {textContent: 'check again', hidden: page.polling || !alive, onclick: () => { page.since = Date.now(); page.polling = true; load(); }});
  const done = p.total_images ? Math.min(1, p.total_iters / p.total_images) : 0;
  const left = alive && !silent && p.rate > 0 ? time((p.total_images - p.total_iters) / p.rate) : '-';
  const end = alive && !silent && p.rate > 0 ? new Date((data.updated + (p.total_images - p.total_iters) / p.rate) * 1000).toLocaleString() : '';
  const ended = p.epoch > p.last_epoch || (!alive && p.epoch_iter === 0 && p.epoch > 1);
  const facts = [
    ['epoch', `${ended ? p.epoch - 1 : p.epoch} / ${p.max_iters ? '-' : p.last_epoch}`],
    ['in this epoch', ended ? 'complete' : `${p.epoch_iter} / ${p.epoch_size} images`],
    ['images seen', `${p.total_iters} of ${p.total_images}`],
    ...(p.max_iters ? [['iterations', `${p.iteration} / ${p.max_iters}`]] : []),
    ['speed', p.rate ? `${short(p.rate)} images/s` : '-'],
    ['waiting for data', p.data_wait === null ? '-' : `${Math.round(100 * p.data_wait)} %`],
    ['learning rate', short(p.lr)], [p.continued_at ? `time since resumed after ${p.continued_at} images` : 'time since start', time(p.elapsed)], ['time left', left], ['ends', end || '-'],
    ['device', data.device || '-']];
  const shown = element('div', {className: 'facts'}, ...facts.map(([name, value]) =>
    element('div', {}, element('span', {textContent: name}), element('b', {textContent: value}))));
  content(page.state, element('p', {}, element('span', {className: `state ${tone}`, textContent: text}), ' ',
    element('span', {className: 'soft', textContent: `last update ${new Date(data.updated * 1000).toLocaleString()}`}), ' ', again),
    element('div', {className: 'bar'}, element('div', {style: {width: 100 * done + '%'}})), shown);
}

function showHealth(data) {
  const notes = data.health.map(note => element('p', {className: 'note'},
    note.text, element('span', {className: 'soft', textContent: note.first === note.last ? ` (epoch ${note.first})` : ` (epochs ${note.first} to ${note.last})`})));
  const calm = element('p', {className: 'soft', textContent: 'No problems detected. Checked: non-finite losses, '
    + 'a discriminator that wins, and outputs that are the same for all inputs, equal to the input, or constant.'});
  content(page.health, ...(notes.length ? notes : [calm]));
}

function showCurves(data) {
  const {x, epoch, series} = data.curves;
  page.chart.set(Object.entries(series).map(([label, y]) => ({label, x, y, epoch})));
}

// A chart for each metric, as each has its own scale.
function showMetrics(data) {
  const {x, epoch, series} = data.metrics, names = Object.keys(series), best = data.best;
  page.metrics.hidden = !names.length;
  for (const name of names) {
    if (!page.metricCharts.has(name)) {
      const box = element('div', {}, element('h3', {textContent: name}));
      page.metricGrid.append(box);
      page.metricCharts.set(name, new Chart(box));
      page.metricCharts.get(name).fromZero = false;
    }
    page.metricCharts.get(name).set([{label: name, x, y: series[name], epoch}]);
  }
  page.bestLine.textContent = best ? `Best ${best.metric}: ${short(best.value)} after epoch ${best.epoch} (checkpoint best)` : '';
}

const SOURCES = {validation: 'Validation images over time', test: 'Test images over time (there are no validation images)',
  training: 'Training images over time (there are no validation images)'};

function showValidation(data) {
  const v = data.validation, last = v.times.length - 1;
  page.validation.hidden = last < 0 || !v.samples;
  if (page.validation.hidden) return;
  page.validation.firstChild.textContent = SOURCES[v.source];
  page.slider.max = last;
  if (page.snapshot === null || page.snapshot > last) page.slider.value = last;
  const at = Number(page.slider.value), moment = v.times[at];
  page.moment.textContent = `after ${moment} images (${at + 1} of ${last + 1})`;
  const key = `${moment} ${v.samples}`;
  if (page.moment.key === key) return;
  page.moment.key = key;
  const rows = Array.from({length: v.samples}, (_, i) => pictureRows([
    ...v.inputs.map(label => [label, `val/${i}_${label}.jpg`]),
    ...v.outputs.map(label => [label, `val/${moment}_${i}_${label}.jpg`])], data.width));
  page.samples.replaceChildren(...rows);
}

function play() {
  if (page.timer) { clearInterval(page.timer); page.timer = null; page.playButton.textContent = 'play'; return; }
  page.playButton.textContent = 'stop';
  page.slider.value = 0;
  page.timer = setInterval(() => {
    const last = Number(page.slider.max), next = Number(page.slider.value) + 1;
    if (next > last) { play(); return; }
    page.slider.value = next;
    slide();
  }, 400);
}

function slide() {
  const at = Number(page.slider.value);
  page.snapshot = at === Number(page.slider.max) ? null : at;     // at the end, the slider follows the run
  showValidation(page.data);
}

function showNewest(data) {
  const [newest] = epochsOf(data), key = `${newest} ${data.version}`;
  page.newest.hidden = newest === undefined;
  if (page.newest.hidden || page.newest.key === key) return;
  page.newest.key = key;
  content(page.newest, element('p', {className: 'soft', textContent: `epoch ${newest}` + (data.version ? `, after ${data.version} images` : '')}),
    pictureRows(epochFiles(data, newest), data.width, data.version));
}

function showEpochs(data) {
  const epochs = epochsOf(data), box = document.getElementById('epochs');
  const rows = epochs.slice(0, page.shownEpochs).map((epoch, place) => {
    const version = place === 0 ? data.version : 0, key = `${epoch} ${version} ${data.labels.length}`;
    if (!page.rows.has(key)) page.rows.set(key, element('div', {}, element('h3', {textContent: `epoch [${epoch}]`}),
      pictureRows(epochFiles(data, epoch), data.width, version)));
    return [key, page.rows.get(key)];
  });
  const keys = rows.map(([key]) => key).join();
  if (keys === page.keys) return;
  page.keys = keys;
  page.rows = new Map(rows);
  const more = element('button', {textContent: `${epochs.length - rows.length} earlier epochs`, hidden: rows.length === epochs.length,
    onclick: () => { page.shownEpochs += 50; showEpochs(page.data); }});
  content(box, ...rows.map(([, row]) => row), more);
}

function showOptions(data) {
  if (page.options.children.length > 1) return;
  const rows = data.options.map(([name, value, given]) => element('tr', {className: given ? 'given' : ''},
    element('td', {textContent: name}), element('td', {textContent: value})));
  page.options.append(element('details', {}, element('summary', {textContent: `${rows.length} options (bold: given on the command line)`}),
    element('table', {className: 'options'}, element('tbody', {}, ...rows))));
}

function build() {
  page.state = part('Progress', 'state');
  page.health = part('Health', 'health');
  const curves = part('Losses', 'losses');
  page.chart = new Chart(curves);
  page.metrics = part('Validation metrics', 'metrics');
  page.bestLine = element('p', {className: 'soft'});
  page.metricGrid = element('div', {className: 'metrics'});
  page.metricCharts = new Map();
  page.metrics.append(page.bestLine, page.metricGrid);
  page.validation = part('Validation images over time', 'validation');
  page.slider = element('input', {type: 'range', min: 0, max: 0, value: 0, oninput: slide});
  page.slider.setAttribute('aria-label', 'time');
  page.playButton = element('button', {textContent: 'play', onclick: play});
  page.moment = element('span', {className: 'soft'});
  page.samples = element('div', {});
  page.validation.append(element('div', {className: 'controls'}, page.playButton, page.slider, page.moment), page.samples);
  page.newest = part('Newest training images', 'newest');
  page.options = part('Options', 'options');
}

window.pixmorph = data => {
  if (!page.data) { page.heard = data.updated * 1000; build(); }
  else if (data.updated !== page.data.updated) page.heard = page.since = Date.now();
  page.data = data;
  page.polling = data.state === 'running' && !(silence(data) && Date.now() - page.since > 1000 * (60 + 5 * data.expected));
  for (const show of [showState, showHealth, showCurves, showMetrics, showValidation, showNewest, showEpochs, showOptions]) show(data);
};

function load() {
  const script = element('script', {src: `data.js?t=${Date.now()}`});
  const next = () => { script.remove(); if (!page.data || page.polling) setTimeout(load, document.hidden ? 5 * EVERY : EVERY); };
  script.onload = next;
  script.onerror = () => {
    if (page.data) next();
    else document.getElementById('live').replaceChildren(
      element('p', {textContent: 'Cannot load data.js from the folder of this page, so there are no curves.'}));
  };
  document.body.append(script);
}

load();
