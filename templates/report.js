// What the page does: colours, contents, folds, files of figures and numbers, the viewer's controls.
(function () {
  "use strict";
  var root = document.documentElement;
  function one(id) { return document.getElementById(id); }
  function all(selector) { return Array.prototype.slice.call(document.querySelectorAll(selector)); }
  function stored(id) { var item = one(id); return item === null ? null : JSON.parse(item.textContent); }
  root.classList.add("scripted");

  // Colours: the system's, or light or dark by choice.
  var system = window.matchMedia("(prefers-color-scheme: dark)"), themes = ["auto", "light", "dark"], theme = "auto", printing = false;
  try { theme = window.localStorage.getItem("molexa-theme") || "auto"; } catch (error) { theme = "auto"; }
  function dark() { return !printing && (theme === "dark" || (theme === "auto" && system.matches)); }
  var repaint = function () {};
  function colours() {
    var shown = printing ? "light" : theme;
    if (shown === "auto") { root.removeAttribute("data-theme"); } else { root.setAttribute("data-theme", shown); }
    one("theme").textContent = "Colours: " + theme;
    repaint();
  }
  one("theme").addEventListener("click", function () {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { window.localStorage.setItem("molexa-theme", theme); } catch (error) { /* not kept */ }
    colours();
  });
  if (system.addEventListener) { system.addEventListener("change", colours); }
  window.addEventListener("beforeprint", function () { printing = true; colours(); });
  window.addEventListener("afterprint", function () { printing = false; colours(); });

  // Folds.
  all(".foldhead").forEach(function (head) {
    head.addEventListener("click", function () { head.setAttribute("aria-expanded", head.getAttribute("aria-expanded") === "true" ? "false" : "true"); });
  });

  // Contents: where the reader is.
  var links = all("nav a");
  if ("IntersectionObserver" in window) {
    var seen = {};
    var observer = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) { seen[entry.target.id] = entry.isIntersecting; });
      var here = links.filter(function (link) { return seen[link.hash.slice(1)]; })[0];
      if (here) { links.forEach(function (link) { link.classList.toggle("here", link === here); }); }
    }, {rootMargin: "-10% 0px -60% 0px"});
    links.forEach(function (link) { var target = one(link.hash.slice(1)); if (target) { observer.observe(target); } });
  }

  // Files.
  var data = stored("data") || {}, stem = document.body.getAttribute("data-stem") || "report";
  function save(name, kind, content) {
    var link = document.createElement("a"), blob = content instanceof Blob ? content : new Blob([content], {type: kind});
    link.href = URL.createObjectURL(blob);
    link.download = name;
    document.body.appendChild(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 10000);
  }
  function cell(value) {
    if (value === null || value === undefined) { return ""; }
    var text = String(value);
    return /[",\n\r]/.test(text) ? "\"" + text.replace(/"/g, "\"\"") + "\"" : text;
  }
  function edges(axis) {
    if (Array.isArray(axis)) { return axis; }
    var found = [];
    for (var n = 0; n <= axis.count; n++) { found.push(Number((axis.first + axis.width * n).toPrecision(10))); }
    return found;
  }
  function values(column) {
    if (Array.isArray(column)) { return column; }
    var found = new Array(column.count).fill(0), place = 0;
    column.steps.forEach(function (step, n) { place += step; found[place] = column.values[n]; });
    return found;
  }
  function csv(name) {
    var item = data[name], lines = [];
    if (item.rows) {
      lines = [item.header].concat(item.rows);
    } else {
      var header = [], places = [[]];
      item.axes.forEach(function (axis) {
        var ends = edges(axis.edges), unit = axis.unit ? " (" + axis.unit + ")" : "", next = [];
        header.push(axis.name + " from" + unit, axis.name + " to" + unit);
        places.forEach(function (before) { for (var n = 0; n + 1 < ends.length; n++) { next.push(before.concat([ends[n], ends[n + 1]])); } });
        places = next;
      });
      var columns = item.columns.map(function (column) { header.push(column.name); return values(column.values); });
      lines = [header].concat(places.map(function (place, n) { return place.concat(columns.map(function (column) { return column[n]; })); }));
    }
    return lines.map(function (line) { return line.map(cell).join(","); }).join("\n") + "\n";
  }
  function svg(name) {
    var copy = document.querySelector("figure[data-name=\"" + name + "\"] svg").cloneNode(true);
    var box = copy.getAttribute("viewBox").split(" ");
    var back = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    back.setAttribute("x", box[0]); back.setAttribute("y", box[1]);
    back.setAttribute("width", box[2]); back.setAttribute("height", box[3]); back.setAttribute("fill", "#ffffff");
    copy.insertBefore(back, copy.firstChild);
    return new XMLSerializer().serializeToString(copy).replace(/var\(--[a-z]+,\s*(#[0-9a-f]+)\)/g, "$1");
  }
  all("[data-save]").forEach(function (button) {
    var name = button.getAttribute("data-of");
    button.addEventListener("click", function () {
      if (button.getAttribute("data-save") === "svg") { save(stem + "-" + name + ".svg", "image/svg+xml", svg(name)); } else { save(stem + "-" + name + ".csv", "text/csv", csv(name)); }
    });
  });
  window.molexa = {csv: csv, svg: svg, names: Object.keys(data)};

  // The viewer.
  var scene = stored("scene"), box = one("viewer");
  if (scene !== null && box !== null) {
    var pick = one("pick"), lengths = one("lengths"), readout = one("readout");
    var units = {2: " \u00c5", 3: "\u00b0", 4: "\u00b0"}, places = {2: 3, 3: 1, 4: 1};
    var named = function (picks) { return picks.map(function (i) { return scene.atoms[i].name; }).join("\u2013"); };
    var stated = function (picks) {
      var turned = picks.slice().reverse().join();
      return scene.lengths.filter(function (row) { var atoms = row.atoms.join(); return atoms === picks.join() || atoms === turned; })[0];
    };
    var text = function (state) {
      var picks = state.picks, at = scene.structures[state.number].at;
      if (picks.length < 2) { return picks.length ? named(picks) + ": click a second atom for the distance, a third for the angle, a fourth for the dihedral." : "Click atoms to measure: two for a distance, three for an angle, four for a dihedral."; }
      var n = picks.length, value = molexaViewer.measure(at, picks), row = stated(picks), words = named(picks) + ": " + value.toFixed(places[n]) + units[n];
      if (row && row.error !== null && row.error !== undefined) {
        words += (state.number === 0 ? " (" : " (answer ") + row.value.toFixed(places[n]) + " \u00b1 " + Number(row.error.toPrecision(2)) + units[n] + ")";
      } else if (state.number !== 0) {
        words += " (answer " + molexaViewer.measure(scene.structures[0].at, picks).toFixed(places[n]) + ")";
      }
      if (scene.known && n > 1) { words += ", known " + molexaViewer.measure(scene.known, picks).toFixed(places[n]) + units[n]; }
      return words;
    };
    var viewer = molexaViewer.create(box, scene, function (state) { readout.textContent = text(state); });
    var choose = function (number) {
      if (pick) { pick.value = String(number); }
      viewer.show(number);
      var shown = scene.structures[number];
      one("pick-note").textContent = shown.note;
      lengths.classList.toggle("other", number !== 0);
      all("#lengths td.shown").forEach(function (item) {
        var atoms = item.getAttribute("data-atoms").split(",").map(Number);
        item.textContent = molexaViewer.measure(shown.at, atoms).toFixed(places[atoms.length]);
      });
      all("#lengths th.shown").forEach(function (item) { item.textContent = shown.name; });
      all(".alternative").forEach(function (item) { item.classList.toggle("shown", item.getAttribute("data-structure") === String(number)); });
    };
    if (pick) { pick.addEventListener("change", function () { choose(Number(pick.value)); }); }
    all("[data-toggle]").forEach(function (item) {
      viewer.state[item.getAttribute("data-toggle")] = item.checked;
      item.addEventListener("change", function () { viewer.set(item.getAttribute("data-toggle"), item.checked); });
    });
    all("[data-show]").forEach(function (item) {
      item.addEventListener("click", function () { choose(Number(item.getAttribute("data-show"))); one("answer").scrollIntoView(); });
    });
    one("closer").addEventListener("click", function () { viewer.zoom(1.25); });
    one("further").addEventListener("click", function () { viewer.zoom(0.8); });
    one("reset").addEventListener("click", function () { viewer.reset(); });
    one("save-view-svg").addEventListener("click", function () { save(stem + "-structure.svg", "image/svg+xml", viewer.file(box.clientWidth, box.clientHeight)); });
    var png = function (done) {
      var w = box.clientWidth, h = box.clientHeight, image = new Image();
      image.onload = function () {
        var canvas = document.createElement("canvas");
        canvas.width = 3 * w; canvas.height = 3 * h;
        var context = canvas.getContext("2d");
        context.scale(3, 3);
        context.drawImage(image, 0, 0, w, h);
        canvas.toBlob(done, "image/png");
      };
      image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(viewer.file(w, h));
    };
    one("save-view-png").addEventListener("click", function () { png(function (blob) { save(stem + "-structure.png", "image/png", blob); }); });
    repaint = function () {
      viewer.dark(dark());
      all(".alternative").forEach(function (item) { viewer.small(item.querySelector("svg"), Number(item.getAttribute("data-structure")), dark()); });
    };
    window.addEventListener("resize", repaint);
    window.molexa.viewer = viewer;
    window.molexa.choose = choose;
    window.molexa.png = png;
  }
  colours();
}());
