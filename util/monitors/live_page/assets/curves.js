// The page of scripts/plot_losses.py: a chart of curves that are part of the page.
function curvesPage(data) {
  const chart = new Chart(document.getElementById('curves'));
  chart.set(data.series);
  chart.smooth.value = chart.width = Math.min(data.smooth, 50);
  if (data.log) chart.toggleLog();
  chart.draw();
}
