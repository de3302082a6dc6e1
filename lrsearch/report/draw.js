"use strict";
(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const narrow = matchMedia("(max-width: 40rem)");
  const ink = () => getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();

  for (const plot of plots) {
    const { data, layout } = JSON.parse(document.getElementById(plot.id + "-data").textContent);
    // On a phone a finger scrolls the page, it does not draw a box to zoom into.
    const dragmode = narrow.matches ? false : "zoom";
    const font = { color: ink(), size: narrow.matches ? 11 : 13 };
    Plotly.newPlot(plot, data, { ...layout, dragmode, font }, {
      responsive: true,
      displaylogo: false,
      displayModeBar: narrow.matches ? false : "hover",
    });
  }

  const restyle = (layout) => plots.forEach((plot) => Plotly.relayout(plot, layout));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    restyle({ "font.color": ink() }));
  addEventListener("beforeprint", () => restyle({ "font.color": "#000000", width: 660 }));
  addEventListener("afterprint", () =>
    restyle({ "font.color": ink(), width: null, autosize: true }));

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
