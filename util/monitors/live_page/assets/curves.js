// The page of scripts/plot_losses.py: charts of curves that are part of the page, losses and then metrics.
function curvesPage(data) {
  const chart = new Chart(document.getElementById('curves'));
  chart.set(data.series);
  chart.smooth.value = chart.width = Math.min(data.smooth, 50);
  if (data.log) chart.toggleLog();
  chart.draw();
  for (const {title, series} of data.metrics) {     // a panel for each scale, as in the PNG
    const box = element('section', {}, element('h2', {}, title));
    document.querySelector('main').append(box);
    const panel = new Chart(box);
    panel.fromZero = false;
    panel.set(series);
  }
}
