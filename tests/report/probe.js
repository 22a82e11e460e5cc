// What a browser sees of a report; the test puts it at the end of a copy of the page.
var extras = {
  none: function () {},
  measured: function (said) {
  var viewer = window.molexa.viewer;
  said.csv = {};
  window.molexa.names.forEach(function (name) { said.csv[name] = window.molexa.csv(name); });
  said.svg = window.molexa.svg("time-of-flight");
  viewer.pick(0); viewer.pick(1);
  said.distance = document.getElementById("readout").textContent;
  viewer.pick(2);
  said.angle = document.getElementById("readout").textContent;
  var before = document.querySelectorAll("#viewer .arrow").length;
  viewer.set("momenta", true);
  said.arrows = [before, document.querySelectorAll("#viewer .arrow").length];
  said.ellipses = document.querySelectorAll("#viewer .error").length;
  said.axes = Array.prototype.map.call(document.querySelectorAll("#viewer .axis"), function (item) { return item.textContent; });
  said.picture = viewer.file(300, 200);
  },
  alternatives: function (said) {
    extras.measured(said);
      said.drawn = Array.prototype.map.call(document.querySelectorAll(".alternative svg"), function (item) { return item.querySelectorAll("circle").length; });
      said.before = document.getElementById("viewer").innerHTML;
      window.molexa.choose(2);
      said.changed = document.getElementById("viewer").innerHTML !== said.before;
      said.note = document.getElementById("pick-note").textContent;
      said.cells = Array.prototype.map.call(document.querySelectorAll("#lengths td.shown"), function (item) { return item.textContent; });
      said.column = getComputedStyle(document.querySelector("#lengths td.shown")).display;
  },
  colours: function (said) {
      function colour() { return getComputedStyle(document.body).backgroundColor; }
      said.colours = [colour()];
      for (var n = 0; n < 3; n++) { document.getElementById("theme").click(); said.colours.push(colour()); }
  },
  printed: function (said) {
      window.dispatchEvent(new Event("beforeprint"));
      said.rules = Array.prototype.some.call(document.styleSheets[0].cssRules, function (rule) {
        return rule.media && rule.media.mediaText === "print" && /\.fold \{ display: block !important/.test(rule.cssText);
      });
      said.theme = document.documentElement.getAttribute("data-theme");
  }
};
window.addEventListener("load", function () { setTimeout(function () {
  function box(item) { var r = item.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; }
  function meet(a, b) { return Math.min(a[2], b[2]) - Math.max(a[0], b[0]) > 1 && Math.min(a[3], b[3]) - Math.max(a[1], b[1]) > 1; }
  function shown(item) { var b = box(item); return b[2] > b[0] && b[3] > b[1]; }
  function all(selector) { return Array.prototype.slice.call(document.querySelectorAll(selector)).filter(shown); }
  var wide = document.documentElement.clientWidth, said = {};
  said.scroll = document.documentElement.scrollWidth - wide;
  said.outside = all("main *, header *, nav *, footer *").filter(function (item) {
    return !item.closest("svg, .full table") && (box(item)[2] > wide + 1 || box(item)[0] < -1);
  }).map(function (item) { return item.tagName + " " + item.className; });
  said.scrolled = all(".full").filter(function (item) { return item.scrollWidth > item.clientWidth + 1; }).map(function (item) { return item.textContent.slice(0, 40); });
  said.clipped = all("td, th, p, li, h1, h2, h3, button, label, dd, dt, code, figcaption").filter(function (item) {
    return item.scrollWidth > item.clientWidth + 1 && getComputedStyle(item).display !== "inline";
  }).map(function (item) { return item.tagName + " " + item.textContent.slice(0, 40); });
  var blocks = all("main section > *, .answer > *, .pair > *, .trio > *, .columns > *, .alternatives > *, .verdict > *, .bar > *");
  said.overlaps = [];
  blocks.forEach(function (a, i) { blocks.slice(i + 1).forEach(function (b) {
    if (!a.contains(b) && !b.contains(a) && meet(box(a), box(b))) { said.overlaps.push(a.className + " / " + b.className); }
  }); });
  var names = all("#viewer .label");
  said.names = names.length;
  names.forEach(function (a, i) {
    names.slice(i + 1).forEach(function (b) { if (meet(box(a), box(b))) { said.overlaps.push(a.textContent + " / " + b.textContent); } });
  });
  said.texts = [];
  Array.prototype.forEach.call(document.querySelectorAll("figure"), function (figure) {
    var texts = Array.prototype.slice.call(figure.querySelectorAll("svg text")), frame = box(figure.querySelector("svg"));
    texts.forEach(function (item) { var b = box(item); if (b[0] < frame[0] - 2 || b[2] > frame[2] + 2 || b[1] < frame[1] - 2 || b[3] > frame[3] + 2) { said.texts.push(figure.dataset.name + ": " + item.textContent); } });
  });
  said.over = [];
  Array.prototype.forEach.call(document.querySelectorAll("figure"), function (figure) {
    var texts = Array.prototype.slice.call(figure.querySelectorAll("svg text")).filter(shown);
    texts.forEach(function (a, i) { texts.slice(i + 1).forEach(function (b) {
      var p = box(a), q = box(b), across = Math.min(p[2], q[2]) - Math.max(p[0], q[0]), up = Math.min(p[3], q[3]) - Math.max(p[1], q[1]);
      if (across > 3 && up > 0.4 * Math.min(p[3] - p[1], q[3] - q[1])) { said.over.push(figure.dataset.name + ": " + a.textContent.trim() + " / " + b.textContent.trim()); }
    }); });
  });
  said.requests = performance.getEntriesByType("resource").map(function (entry) { return entry.name; }).filter(function (name) { return !/^(data|blob):/.test(name); });
  extras[EXTRA](said);
  var out = document.createElement("pre");
  out.id = "said";
  out.textContent = JSON.stringify(said);
  document.body.appendChild(out);
}, 300); });
