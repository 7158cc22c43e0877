// The page of a training run. data.js calls pixmorph(data); it is loaded again and again during training.
const EVERY = 3000;                 // milliseconds between two loads of data.js
const page = {data: null, heard: 0, since: Date.now(), polling: true, snapshot: null, shownEpochs: 20, keys: ''};

function part(title, id) {
  const box = element('section', {id}, element('h2', {}, title));
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

// What the viewer shows: the groups of pictures among which one was clicked, as they were then. While their elements
// exist, the browser keeps the pictures in memory, although newer ones may have replaced them on the page and on the disk.
const clicked = {
  groups: [],
  count: () => clicked.groups.length,
  item: at => clicked.groups[at] && {name: clicked.groups[at].title, files: Object.fromEntries(clicked.groups[at].files), scores: () => []},
  labels: at => clicked.groups[at].files.map(([label]) => label),
  pair: (at, label) => sourcePair(clicked.labels(at), label),
  pairs: at => sourcePairs(clicked.labels(at)),
  changed: () => {},
  closed: () => {
    focusOn(clicked.button.dataset.place);
    if (history.state?.viewer) history.back();      // it was closed by a key or button
  },
};

function openViewer(groups, at, label, button) {
  Object.assign(clicked, {groups, button});
  history.pushState({viewer: true}, '');          // so that Back closes it
  page.viewer.show(at, label);
}

// The picture at a place, which is another element after new data came.
function focusOn(place) {
  [...document.querySelectorAll('.picture')].find(button => button.dataset.place === place)?.focus({preventScroll: true});
}

function picture(label, address, place, open) {
  const image = element('img', {src: address, alt: label, loading: 'lazy', onload: () => image.classList.toggle('coarse', image.naturalWidth < 128)});
  const button = element('button', {type: 'button', class: 'picture', 'data-place': `${place} ${label}`, onclick: () => open(label, button)}, image);
  return element('figure', {}, button, element('figcaption', {}, label));
}

const address = (file, version) => file.split('/').map(encodeURIComponent).join('/') + (version ? `?v=${version}` : '');

// If both directions are translated, each has a row: real_A and the images made from it, then real_B. Otherwise the
// order is that of the training images; targets are last if there are none.
const ORDER = ['real_A', 'fake_B', 'rec_A', 'idt_B', 'real_B', 'fake_A', 'rec_B', 'idt_A'];

function inRows(files, known) {
  const sorted = place => [...files].sort((a, b) => place(a[0]) - place(b[0]));
  if (files.some(([label]) => label === 'fake_A')) {
    const place = label => (ORDER.indexOf(label) + ORDER.length + 1) % (ORDER.length + 1);      // others come last
    const all = sorted(place), split = all.findIndex(([label]) => place(label) >= 4);
    return [all.slice(0, split), all.slice(split)].filter(row => row.length);
  }
  if (files.every(([label]) => known.includes(label))) return [sorted(label => known.indexOf(label))];
  return [sorted(label => label.startsWith('real_B') ? 1 : 0)];
}

// One block of pictures, in rows of equal length: at most 6 in each, 3 on a phone.
function pictureRow(files, width, place, open) {
  const columns = most => Math.ceil(files.length / Math.ceil(files.length / most)), row = element('div', {class: 'pictures'},
    ...files.map(([label, file]) => picture(label, file, place, open)));
  row.style.setProperty('--columns', columns(6));
  row.style.setProperty('--few', columns(3));
  row.style.setProperty('--width', `${width}px`);
  return row;
}

// Images with a title and several pictures each, [{title, files}], next to each other where there is room.
function gallery(groups, data, headed = true) {
  const shown = groups.map(group => ({...group, rows: inRows(group.files, data.labels)}));
  const boxes = shown.map((group, at) => element('div', {class: 'group'},
    ...(headed ? [element('h3', {}, group.title)] : []),
    element('div', {class: 'blocks'}, ...group.rows.map(row => pictureRow(row, data.width, headed ? group.title : '', (label, button) =>
      openViewer(shown.map(other => ({title: other.title, files: other.rows.flat()})), at, label, button))))));
  const box = element('div', {class: 'groups'}, ...boxes);
  const blocks = Math.max(1, ...shown.map(group => group.rows.length));
  box.style.setProperty('--pictures', Math.max(1, ...shown.flatMap(group => group.rows.map(row => Math.min(6, row.length)))) * Math.min(2, blocks));
  return box;
}

const epochFile = (epoch, label) => `images/epoch${String(epoch).padStart(3, '0')}_${label}.png`;
const epochGroup = (data, epoch, version) => ({title: `epoch [${epoch}]`, files: data.labels.map(label => [label, address(epochFile(epoch, label), version)])});
const epochsOf = data => data.epochs.flatMap(([a, b]) => Array.from({length: b - a + 1}, (_, i) => a + i)).reverse();

function silence(data) {                // seconds without an update if that is longer than usual, otherwise 0
  const quiet = (Date.now() - page.heard) / 1000;
  return quiet > 60 + 5 * data.expected ? quiet : 0;
}

function showState(data) {
  const p = data.progress, alive = data.state === 'running', silent = alive && silence(data);
  const text = silent ? `no update since ${new Date(data.updated * 1000).toLocaleString()}` : data.state;
  const tone = silent || data.state.startsWith('failed') ? 'trouble' : 'running';
  const again = element('button', {hidden: page.polling || !alive, onclick: () => { page.since = Date.now(); page.polling = true; load(); }}, 'check again');
  const done = p.total_images ? Math.min(1, p.total_iters / p.total_images) : 0;
  const going = alive && !silent && p.rate > 0, seconds = (p.total_images - p.total_iters) / p.rate;
  const ended = p.epoch > p.last_epoch || (!alive && p.epoch_iter === 0 && p.epoch > 1), epoch = ended ? p.epoch - 1 : p.epoch;
  const known = value => value !== null && value !== undefined && value !== '' && value !== 0;
  const facts = [     // only what is known, and nothing about the future of a run that has ended
    ['epoch', p.max_iters ? String(epoch) : `${epoch} / ${p.last_epoch}`],
    ...(p.max_iters ? [['iterations', `${p.iteration} / ${p.max_iters}`]] : []),
    ...(!ended && p.epoch_iter ? [['in this epoch', `${p.epoch_iter} / ${p.epoch_size} images`]] : []),
    ['images seen', p.total_images ? `${p.total_iters} of ${p.total_images}` : String(p.total_iters)],
    ...(known(p.rate) ? [['speed', `${short(p.rate)} images/s`]] : []),
    ...(known(p.data_wait) || p.data_wait === 0 ? [['waiting for data', `${Math.round(100 * p.data_wait)} %`]] : []),
    ...(known(p.lr) ? [['learning rate', short(p.lr)]] : []),
    [p.continued_at ? `time since resumed after ${p.continued_at} images` : 'time since start', time(p.elapsed)],
    ...(going ? [['time left', time(seconds)], ['ends', new Date(1000 * (data.updated + seconds)).toLocaleString()]] : []),
    ...(data.device ? [['device', data.device]] : [])];
  const shown = element('div', {class: 'facts'}, ...facts.map(([name, value]) =>
    element('div', {}, element('span', {}, name), element('b', {}, value))));
  const calm = !data.health.length && data.curves.x.length;
  content(page.state, element('p', {}, element('span', {class: `state ${tone}`}, text), ' ',
    element('span', {class: 'soft'}, silent ? '' : `last update ${new Date(data.updated * 1000).toLocaleString()}`), ' ', again),
    element('div', {class: 'progress'}, element('div', {style: `width: ${100 * done}%`})), shown,
    ...(calm ? [element('p', {class: 'soft'}, 'No problems detected. Checked: non-finite losses, '
      + 'a discriminator that wins, and outputs that are the same for all inputs, equal to the input, or constant.')] : []));
}

function showHealth(data) {
  const notes = data.health.map(note => element('p', {class: 'note'},
    note.text, element('span', {class: 'soft'}, note.first === note.last ? ` (epoch ${note.first})` : ` (epochs ${note.first} to ${note.last})`)));
  page.health.hidden = !notes.length;
  content(page.health, ...notes);
}

// A single report is no curve: its values are listed.
function values(reported) {
  return element('dl', {class: 'facts'}, ...reported.map(([name, value]) => element('div', {}, element('dt', {}, name), element('dd', {}, value))));
}

function showCurves(data) {
  const {x, epoch, series} = data.curves;
  page.losses.hidden = !x.length;
  page.curveBox.hidden = x.length < 2;
  page.firstLosses.replaceChildren(...(x.length === 1 ? [element('p', {class: 'soft'}, `after ${images(x[0])}${data.state === 'running' ? '; curves follow with the next report' : ''}`),
    values(Object.entries(series).map(([label, y]) => [label, y[0] === null ? 'not finite' : short(y[0])]))] : []));
  if (x.length > 1) page.chart.set(Object.entries(series).map(([label, y]) => ({label, x, y, epoch})));
}

const images = count => `${count} image${count === 1 ? '' : 's'}`;

// A chart for each metric, as each has its own scale.
function showMetrics(data) {
  const {x, epoch, series} = data.metrics, names = Object.keys(series), best = data.best;
  page.metrics.hidden = !names.length;
  page.metricGrid.hidden = x.length < 2;
  page.firstMetrics.replaceChildren(...(x.length === 1 ? [values(names.map(name => [`${name} after epoch ${epoch[0]}`, series[name][0] === null ? 'not finite' : short(series[name][0])]))] : []));
  for (const name of x.length > 1 ? names : []) {
    if (!page.metricCharts.has(name)) {
      const box = element('div', {}, element('h3', {}, name));
      page.metricGrid.append(box);
      page.metricCharts.set(name, new Chart(box));
      page.metricCharts.get(name).fromZero = false;
    }
    page.metricCharts.get(name).set([{label: name, x, y: series[name], epoch}]);
  }
  page.bestLine.textContent = best ? `Best ${best.metric}: ${short(best.value)} after epoch ${best.epoch} (checkpoint best)` : '';
}

const SOURCES = {validation: 'Validation images over time', test: 'Test images over time (there are no validation images)',
  training: 'Fixed training images over time (there are no validation images)'};

function showValidation(data) {
  const v = data.validation, last = v.times.length - 1;
  page.validation.hidden = last < 0 || !v.samples;
  if (page.validation.hidden) return;
  page.validation.firstChild.textContent = SOURCES[v.source];
  page.slider.max = last;
  if (page.snapshot === null || page.snapshot > last) page.slider.value = last;
  const at = Number(page.slider.value), moment = v.times[at];
  page.slider.hidden = page.playButton.hidden = last < 1;
  page.moment.textContent = `after ${images(moment)}` + (last ? ` (${at + 1} of ${last + 1})` : '');
  const key = `${moment} ${v.samples} ${data.labels}`;
  if (page.moment.key === key) return;
  page.moment.key = key;
  page.samples.replaceChildren(gallery(Array.from({length: v.samples}, (_, i) => ({title: `${v.source} image ${i + 1}`, files: [
    ...v.inputs.map(label => [label, address(`val/${i}_${label}.jpg`)]),
    ...v.outputs.map(label => [label, address(`val/${moment}_${i}_${label}.jpg`)])]})), data));
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
  const group = epochGroup(data, newest, data.version), when = `epoch ${newest}` + (data.version ? `, after ${images(data.version)}` : '');
  content(page.newest, element('p', {class: 'soft'}, when), gallery([{...group, title: `training, ${when}`}], data, false));
}

function showEpochs(data) {
  const epochs = epochsOf(data), box = document.getElementById('epochs');
  const shown = epochs.slice(0, page.shownEpochs), key = `${shown} ${data.version} ${data.labels}`;
  box.hidden = epochs.length < 2;       // the newest training images are all there are
  if (key === page.keys) return;
  page.keys = key;
  const more = element('button', {hidden: shown.length === epochs.length,
    onclick: () => { page.shownEpochs += 50; showEpochs(page.data); }}, `${epochs.length - shown.length} earlier epochs`);
  content(box, gallery(shown.map((epoch, place) => epochGroup(data, epoch, place ? 0 : data.version)), data), more);
}

function showOptions(data) {
  if (page.options.children.length > 1) return;
  const table = rows => element('table', {class: 'options'}, element('tbody', {}, ...rows.map(([name, value]) =>
    element('tr', {}, element('th', {scope: 'row'}, name), element('td', {}, value)))));
  const given = data.options.filter(option => option[2]), others = data.options.filter(option => !option[2]);
  if (given.length) page.options.append(table(given));
  page.options.append(element('details', {}, element('summary', {}, `${others.length} options that were not given`), table(others)));
}

function build() {
  page.state = part('Progress', 'state');
  page.health = part('Problems', 'health');
  page.losses = part('Losses', 'losses');
  page.firstLosses = element('div', {});
  page.curveBox = element('div', {class: 'curves'});
  page.losses.append(page.firstLosses, page.curveBox);
  page.chart = new Chart(page.curveBox);
  page.newest = part('Newest training images', 'newest');
  page.metrics = part('Validation metrics', 'metrics');
  page.bestLine = element('p', {class: 'soft'});
  page.metricGrid = element('div', {class: 'metrics'});
  page.metricCharts = new Map();
  page.firstMetrics = element('div', {});
  page.metrics.append(page.bestLine, page.firstMetrics, page.metricGrid);
  page.validation = part('Validation images over time', 'validation');
  page.slider = element('input', {type: 'range', min: 0, max: 0, value: 0, 'aria-label': 'time', oninput: slide});
  page.playButton = element('button', {onclick: play}, 'play');
  page.moment = element('span', {class: 'soft'});
  page.samples = element('div', {});
  page.validation.append(element('div', {class: 'controls'}, page.playButton, page.slider, page.moment), page.samples);
  page.options = part('Options given', 'options');
  page.viewer = new Viewer(clicked);
  if (history.state?.viewer) history.replaceState(null, '');      // the page was loaded again
  addEventListener('popstate', () => page.viewer.close());
}

window.pixmorph = data => {
  if (!page.data) { page.heard = data.updated * 1000; build(); }
  else if (data.updated !== page.data.updated) page.heard = page.since = Date.now();
  page.data = data;
  const {place} = document.activeElement.dataset;       // of the picture that has the focus
  page.polling = data.state === 'running' && !(silence(data) && Date.now() - page.since > 1000 * (60 + 5 * data.expected));
  for (const show of [showState, showHealth, showCurves, showMetrics, showValidation, showNewest, showEpochs, showOptions]) {
    try { show(data); }
    catch (error) { console.error(error); }     // the other parts are shown
  }
  if (place && document.activeElement.dataset.place !== place) focusOn(place);
};

function load() {
  const next = () => { script.remove(); if (!page.data || page.polling) setTimeout(load, document.hidden ? 5 * EVERY : EVERY); };
  const failed = () => {
    if (page.data) next();
    else document.getElementById('live').replaceChildren(element('p', {}, 'Cannot load data.js from the folder of this page, so there are no curves.'));
  };
  const script = element('script', {src: `data.js?t=${Date.now()}`, onload: next, onerror: failed});
  document.body.append(script);
}

load();
