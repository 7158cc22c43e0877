// Translates a picture with the model of this folder. Everything is read from script files, so that the page also works
// when it is opened from a disk, where browsers refuse to fetch other files.
'use strict';
(() => {
  const LARGEST = 4096 * 4096;      // pixels: larger pictures need more memory than a page has
  const element = (id) => document.getElementById(id);
  const say = (text) => { element('status').textContent = text; };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  let ort, session, picture, style, waiting, name = 'picture', busy = false;

  async function start() {
    const code = new Blob([bytes(RUNTIME.module)], {type: 'text/javascript'});
    ort = await import(URL.createObjectURL(code));
    ort.env.wasm.wasmBinary = bytes(RUNTIME.wasm).buffer;
    ort.env.wasm.numThreads = 1;    // more need headers that only a server can send
    const adapter = navigator.gpu ? await navigator.gpu.requestAdapter() : null;
    const providers = adapter ? ['webgpu', 'wasm'] : ['wasm'];
    session = await ort.InferenceSession.create(bytes(MODEL), {executionProviders: providers});
    element('restyle').hidden = !CONFIG.style_dim;
    drawStyle();
    say(`Ready (${providers[0]}).`);
    await next();
  }

  async function next() {           // the picture that was chosen while the model was not ready
    const file = waiting;
    waiting = null;
    if (file) await open(file);
  }

  function drawStyle() {            // normal random numbers, by Box and Muller
    const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
    style = Float32Array.from({length: CONFIG.style_dim}, normal);
  }

  async function open(file) {
    if (!session || busy) {         // a browser says nothing if the same file is chosen again, so it is kept
      waiting = file;
      return say(`${session ? 'Translating' : 'Loading the model'} ... ${file.name} is next.`);
    }
    let bitmap;
    try {
      bitmap = await createImageBitmap(file);
    } catch {
      return say(`${file.name} is not a picture that this browser can read.`);
    }
    if (bitmap.width * bitmap.height > LARGEST) {
      return say(`${file.name} has ${bitmap.width} x ${bitmap.height} pixels; give one of at most ${LARGEST}.`);
    }
    name = file.name.replace(/\.[^.]*$/, '');
    const canvas = element('before');
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
    const context = canvas.getContext('2d', {willReadFrequently: true});
    context.fillStyle = 'white';    // behind transparent parts
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(bitmap, 0, 0);
    picture = context.getImageData(0, 0, canvas.width, canvas.height);
    return translate();
  }

  function toLevels(data, channels) {
    const levels = new Uint8Array(data.length / 4 * channels);
    for (let from = 0, to = 0; from < data.length; from += 4) {
      if (channels === 1) {
        levels[to++] = Math.round(0.299 * data[from] + 0.587 * data[from + 1] + 0.114 * data[from + 2]);
      } else {
        for (let channel = 0; channel < 3; channel += 1) levels[to++] = data[from + channel];
      }
    }
    return levels;
  }

  function toPicture(levels, channels, width, height) {
    const image = new ImageData(width, height);
    for (let pixel = 0; pixel < width * height; pixel += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        image.data[4 * pixel + channel] = levels[channels * pixel + Math.min(channel, channels - 1)];
      }
      image.data[4 * pixel + 3] = 255;
    }
    return image;
  }

  async function translate() {
    const {width, height, data} = picture;
    busy = true;
    say('Translating ...');
    await new Promise((resolve) => { setTimeout(resolve, 20); });   // so that the line above is shown
    const began = performance.now();
    try {
      const input = toLevels(data, CONFIG.channels_in);
      const feeds = {image: new ort.Tensor('uint8', input, [1, height, width, CONFIG.channels_in])};
      if (CONFIG.style_dim) feeds.style = new ort.Tensor('float32', style, [1, CONFIG.style_dim]);
      const {translation} = await session.run(feeds);
      const canvas = element('after');
      [canvas.width, canvas.height] = [width, height];
      const result = toPicture(await translation.getData(), CONFIG.channels_out, width, height);
      canvas.getContext('2d').putImageData(result, 0, 0);
      element('result').hidden = false;
      compare();
      say(`${width} x ${height} pixels, ${((performance.now() - began) / 1000).toFixed(1)} s.`);
    } catch (error) {
      say(`This picture could not be translated (${error.message || error}); a smaller one may work.`);
    } finally {
      busy = false;
    }
    await next();
  }

  function compare() {
    element('before').style.clipPath = `inset(0 ${100 - element('slider').value}% 0 0)`;
  }

  function download() {
    const link = document.createElement('a');
    link.download = `${name}_translated.png`;
    link.href = element('after').toDataURL('image/png');
    link.click();
  }

  element('file').addEventListener('change', (event) => { if (event.target.files[0]) open(event.target.files[0]); });
  element('slider').addEventListener('input', compare);
  element('download').addEventListener('click', download);
  element('restyle').addEventListener('click', () => { if (!busy) { drawStyle(); translate(); } });
  for (const kind of ['dragover', 'dragleave', 'drop']) {
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      element('drop').classList.toggle('over', kind === 'dragover');
      if (kind === 'drop' && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
    });
  }
  start().catch((error) => say(`The model could not be loaded: ${error.message || error}`));
})();
