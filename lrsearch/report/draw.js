"use strict";
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const narrow = matchMedia("(max-width: 40rem)");
  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();

  const heights = new Map(plots.map((plot) => [plot, plot.clientHeight]));

  // A legend of many lines, on a phone, makes the figure higher instead of covering it.
  const legendHeight = (plot) => {
    const legend = plot.querySelector(".legend .bg");
    return legend ? Math.max(0, legend.getBoundingClientRect().height - 30) : 0;
  };
  const fit = (plot) => {
    const height = Math.round(heights.get(plot) + legendHeight(plot));
    if (height === plot.clientHeight) return;
    plot.style.height = `${height}px`;
    Plotly.Plots.resize(plot);
  };

  for (const plot of plots) {
    const { data, layout } = JSON.parse(document.getElementById(plot.id + "-data").textContent);
    // On a phone a finger scrolls the page, it does not draw a box to zoom into.
    const dragmode = narrow.matches ? false : "zoom";
    const font = { color: ink(), size: narrow.matches ? 11 : 13 };
    const legend = { ...layout.legend, maxheight: 2000 };
    const drawn = { ...layout, dragmode, font, legend, height: undefined, autosize: true };
    Plotly.newPlot(plot, data, drawn, {
      responsive: true,
      displaylogo: false,
      displayModeBar: narrow.matches ? false : "hover",
    }).then(() => fit(plot));
  }

  const restyle = (layout) => plots.forEach((plot) => Plotly.relayout(plot, layout(plot)));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    restyle(() => ({ "font.color": ink() })));
  addEventListener("resize", () => plots.forEach(fit));

  // Paper shows everything: what is folded is opened, and figures fit its width.
  const PAGE_WIDTH = 670, ON_PAPER = 0.8;
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((details) => { details.open = true; });
    for (const plot of plots) plot.style.height = `${Math.round(ON_PAPER * heights.get(plot))}px`;
    restyle((plot) => ({
      "font.color": "#000000", width: PAGE_WIDTH, height: plot.clientHeight, autosize: false,
    }));
  });
  addEventListener("afterprint", () => {
    opened.forEach((details) => { details.open = false; });
    restyle(() => ({ "font.color": ink(), width: null, height: null, autosize: true }));
    plots.forEach(fit);
  });

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.nextElementSibling;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected: press Ctrl-C";
      }
    });
  }
})();
