// The molecule viewer: SVG, parallel projection, no library.
var molexaViewer = (function () {
  "use strict";
  var LIGHT = {ink: "#1f2a37", muted: "#5d6875", paper: "#ffffff", stick: "#aab3be", edge: "#1f2a37", blue: "#24557a", accent: "#b5482f", green: "#2f7d4f", violet: "#7a4fa3"};
  var DARK = {ink: "#e3e8ee", muted: "#9aa6b3", paper: "#161c23", stick: "#7d8895", edge: "#c3ccd6", blue: "#8cc2e8", accent: "#ee8b6f", green: "#6cc493", violet: "#c3a0e8"};
  var INSIDE = Math.sqrt(-2 * Math.log(1 - 0.68));  // radius of the ellipse that holds 68 % of a normal distribution
  var DIRECTIONS = [];
  for (var k = 0; k < 16; k++) { DIRECTIONS.push([Math.cos(k * Math.PI / 8), Math.sin(k * Math.PI / 8)]); }

  function escaped(text) { return String(text).replace(/[&<>"]/g, function (c) { return {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\"": "&quot;"}[c]; }); }
  function short(x) { return (Math.round(x * 100) / 100).toString(); }
  function dot(a, b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
  function less(a, b) { return [a[0] - b[0], a[1] - b[1], a[2] - b[2]]; }
  function cross(a, b) { return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]; }
  function length(a) { return Math.sqrt(dot(a, a)); }
  function apply(m, v) { return [dot(m[0], v), dot(m[1], v), dot(m[2], v)]; }
  function times(a, b) { return a.map(function (row) { return [0, 1, 2].map(function (j) { return row[0] * b[0][j] + row[1] * b[1][j] + row[2] * b[2][j]; }); }); }
  function turnX(t) { var c = Math.cos(t), s = Math.sin(t); return [[1, 0, 0], [0, c, -s], [0, s, c]]; }
  function turnY(t) { var c = Math.cos(t), s = Math.sin(t); return [[c, 0, s], [0, 1, 0], [-s, 0, c]]; }
  function mixed(colour, with_, share) {
    function parts(h) { return [1, 3, 5].map(function (i) { return parseInt(h.substr(i, 2), 16); }); }
    var a = parts(colour), b = parts(with_);
    return "#" + a.map(function (v, i) { return ("0" + Math.round(v + share * (b[i] - v)).toString(16)).slice(-2); }).join("");
  }
  function measure(at, picks) {
    var p = picks.map(function (i) { return at[i]; });
    if (p.length === 2) { return length(less(p[1], p[0])); }
    if (p.length === 3) {
      var a = less(p[0], p[1]), b = less(p[2], p[1]);
      return Math.atan2(length(cross(a, b)), dot(a, b)) * 180 / Math.PI;
    }
    var one = less(p[1], p[0]), two = less(p[2], p[1]), three = less(p[3], p[2]), n = cross(one, two), m = cross(two, three);
    return Math.atan2(length(two) * dot(one, m), dot(n, m)) * 180 / Math.PI;
  }
  function middle(at) {
    return [0, 1, 2].map(function (i) { return at.reduce(function (sum, p) { return sum + p[i]; }, 0) / at.length; });
  }
  function start(scene) { return times(times(turnX(0.42), turnY(-0.42)), scene.view); }

  // The drawing of one structure as the inside of an <svg>; also says where everything is.
  function drawn(scene, number, options) {
    var shown = scene.structures[number], look = options.look, w = options.width, h = options.height, small = Boolean(options.small);
    var centre = middle(scene.structures[0].at), reach = 0.3;
    function within(at) { at.forEach(function (p) { reach = Math.max(reach, length(less(p, centre)) + 0.3); }); }
    within(shown.at);
    if (options.known && scene.known) { within(scene.known); }
    if (options.other && scene.other) { within(scene.other); }
    var arrows = null;
    if (options.momenta && scene.momenta) {
      var largest = Math.max.apply(null, scene.momenta.map(length)) || 1, factor = 0.75 * reach / largest;
      arrows = shown.at.map(function (p, i) { return p.map(function (x, j) { return x + factor * scene.momenta[i][j]; }); });
      within(arrows);
    }
    var scale = options.zoom * (small ? 0.47 : 0.43) * Math.min(w, h * 1.25) / reach;
    var most = (small ? 0.47 : 0.5) * h * options.zoom;
    if (scale * reach > most) { scale = most / reach; }
    var turn = options.turn;
    function seen(p) { var q = apply(turn, less(p, centre)); return [w / 2 + scale * q[0], h / 2 - scale * q[1], scale * q[2]]; }
    var at = shown.at.map(seen), radius = scene.atoms.map(function (a) { return Math.max(scale * a.radius, small ? 2.5 : 4); });
    var parts = [], defs = "", marks = {}, thick = Math.max(scale * 0.1, small ? 1.6 : 2.5);
    scene.atoms.forEach(function (atom) {
      var id = options.id + "-" + atom.colour.substr(1);
      if (marks[id]) { return; }
      marks[id] = true;
      var white = atom.symbol === "H";
      defs += "<radialGradient id=\"" + id + "\" cx=\"0.38\" cy=\"0.34\" r=\"0.72\"><stop offset=\"0\" stop-color=\"" + (white ? "#ffffff" : mixed(atom.colour, "#ffffff", 0.6)) +
        "\"/><stop offset=\"0.55\" stop-color=\"" + (white ? "#f7f9fa" : atom.colour) + "\"/><stop offset=\"1\" stop-color=\"" + (white ? "#cdd4db" : mixed(atom.colour, "#000000", 0.28)) + "\"/></radialGradient>";
    });
    function line(a, b, colour, width, extra) {
      return "<line x1=\"" + short(a[0]) + "\" y1=\"" + short(a[1]) + "\" x2=\"" + short(b[0]) + "\" y2=\"" + short(b[1]) + "\" stroke=\"" + colour + "\" stroke-width=\"" + short(width) + "\" " + (extra || "") + "/>";
    }
    var segments = [];
    shown.sticks.forEach(function (pair) {
      var a = at[pair[0]], b = at[pair[1]], d = less(b, a), l = length(d) || 1;
      var from = a.map(function (x, i) { return x + 0.85 * radius[pair[0]] * d[i] / l; });
      var to = b.map(function (x, i) { return x - 0.85 * radius[pair[1]] * d[i] / l; });
      segments.push([a, b]);
      parts.push([(a[2] + b[2]) / 2, line(from, to, look.edge, thick + 1.2, "stroke-linecap=\"round\"") + line(from, to, look.stick, thick, "stroke-linecap=\"round\"")]);
    });
    var rings = [];
    function ghost(positions, colour, dash, title) {
      var g = positions.map(seen), front = 0;
      g.forEach(function (p, i) { rings.push([p, 1.3 * radius[i]]); });
      g.forEach(function (p) { front = Math.max(front, p[2]); });
      scene.structures[0].sticks.forEach(function (pair) {
        parts.push([front + 1e3, line(g[pair[0]], g[pair[1]], colour, 1.4, "stroke-dasharray=\"" + dash + "\"")]);
      });
      g.forEach(function (p, i) {
        parts.push([front + 1e3, "<circle cx=\"" + short(p[0]) + "\" cy=\"" + short(p[1]) + "\" r=\"" + short(1.3 * radius[i]) + "\" fill=\"none\" stroke=\"" + colour + "\" stroke-width=\"1.5\" pointer-events=\"none\"><title>" + escaped(title) + "</title></circle>"]);
      });
    }
    scene.atoms.forEach(function (atom, i) {
      var p = at[i], picked = !small && options.picks && options.picks.indexOf(i) >= 0;
      var text = "<circle data-atom=\"" + i + "\" cx=\"" + short(p[0]) + "\" cy=\"" + short(p[1]) + "\" r=\"" + short(radius[i]) + "\" fill=\"url(#" + options.id + "-" + atom.colour.substr(1) + ")\" stroke=\"" + look.edge + "\" stroke-width=\"" + (small ? 0.7 : 1) + "\"/>";
      if (picked) { text += "<circle cx=\"" + short(p[0]) + "\" cy=\"" + short(p[1]) + "\" r=\"" + short(radius[i] + 4) + "\" fill=\"none\" stroke=\"" + look.green + "\" stroke-width=\"2.5\" pointer-events=\"none\"/>"; }
      parts.push([p[2], text]);
      if (options.errors && shown.covariance) {
        var c = shown.covariance[i], full = [[c[0], c[1], c[2]], [c[1], c[3], c[4]], [c[2], c[4], c[5]]];
        var rx = apply(full, turn[0]), ry = apply(full, turn[1]);
        var a = dot(turn[0], rx), b = dot(turn[0], ry), d = dot(turn[1], ry);
        var t = (a + d) / 2, s = Math.sqrt((a - d) * (a - d) / 4 + b * b), angle = -0.5 * Math.atan2(2 * b, a - d) * 180 / Math.PI;
        var one = scale * INSIDE * Math.sqrt(Math.max(t + s, 0)), two = scale * INSIDE * Math.sqrt(Math.max(t - s, 0));
        parts.push([p[2] + radius[i], "<ellipse class=\"error\" cx=\"" + short(p[0]) + "\" cy=\"" + short(p[1]) + "\" rx=\"" + short(Math.max(one, 0.6)) + "\" ry=\"" + short(Math.max(two, 0.6)) + "\" transform=\"rotate(" + short(angle) + " " + short(p[0]) + " " + short(p[1]) + ")\" fill=\"" + look.blue + "\" fill-opacity=\"0.1\" stroke=\"" + look.blue + "\" stroke-width=\"1.2\" pointer-events=\"none\"/>"]);
      }
    });
    if (options.known && scene.known) { ghost(scene.known, look.accent, "5 4", scene.known_name || "known structure"); }
    if (options.other && scene.other) { ghost(scene.other, look.green, "2 3", scene.other_name); }
    if (arrows) {
      arrows.forEach(function (end, i) {
        var a = at[i], b = seen(end), d = [b[0] - a[0], b[1] - a[1]], l = Math.sqrt(d[0] * d[0] + d[1] * d[1]);
        if (l < 3) { return; }
        var u = [d[0] / l, d[1] / l], size = Math.min(9, 0.45 * l), neck = [b[0] - size * u[0], b[1] - size * u[1]];
        segments.push([a, b]);
        parts.push([Math.max(a[2], b[2]) + radius[i], line(a, neck, look.violet, 1.8, "pointer-events=\"none\"") +
          "<path class=\"arrow\" d=\"M" + short(b[0]) + " " + short(b[1]) + "L" + short(neck[0] - 0.42 * size * u[1]) + " " + short(neck[1] + 0.42 * size * u[0]) + "L" + short(neck[0] + 0.42 * size * u[1]) + " " + short(neck[1] - 0.42 * size * u[0]) + "Z\" fill=\"" + look.violet + "\" pointer-events=\"none\"/>"]);
      });
    }
    parts.sort(function (a, b) { return a[0] - b[0]; });
    var inside = "<defs>" + defs + "</defs>" + parts.map(function (part) { return part[1]; }).join("");
    if (!small && options.picks && options.picks.length > 1) {
      options.picks.slice(1).forEach(function (i, n) { inside += line(at[options.picks[n]], at[i], look.green, 1.6, "stroke-dasharray=\"4 3\" pointer-events=\"none\""); });
    }
    if (options.names) { inside += labels(scene, at, radius, segments, rings, look, w, h); }
    if (options.axes && !small) { inside += axes(turn, scale, look, w, h); }
    if (arrows && !small) {
      inside += "<text class=\"axis\" x=\"12\" y=\"20\" font-size=\"12\" font-family=\"sans-serif\" fill=\"" + look.violet + "\">momenta, the longest " + Number(Math.max.apply(null, scene.momenta.map(length)).toPrecision(3)) + " a.u.</text>";
    }
    return inside;
  }
  // Names beside their atoms, where they cover least.
  function labels(scene, at, radius, segments, rings, look, w, h) {
    var placed = [], text = "", centre = [w / 2, h / 2];
    scene.atoms.forEach(function (atom, i) {
      var half = [3.9 * atom.name.length + 1, 7], best = null;
      [4, 9, 15, 22].forEach(function (gap, far) {
        DIRECTIONS.forEach(function (u) {
          var out = radius[i] + gap;
          var c = [at[i][0] + u[0] * (out + half[0]), at[i][1] + u[1] * (out + half[1])], cost = 3 * far;
          at.forEach(function (p, j) {
            var dx = Math.max(Math.abs(c[0] - p[0]) - half[0], 0), dy = Math.max(Math.abs(c[1] - p[1]) - half[1], 0), free = Math.sqrt(dx * dx + dy * dy) - radius[j];
            if (free < 1) { cost += 30 + (1 - free); } else if (j !== i && free < 8) { cost += 1; }
          });
          rings.forEach(function (ring) {
            var dx = Math.abs(c[0] - ring[0][0]), dy = Math.abs(c[1] - ring[0][1]);
            var near = Math.hypot(Math.max(dx - half[0], 0), Math.max(dy - half[1], 0)), far_ = Math.hypot(dx + half[0], dy + half[1]);
            if (near < ring[1] + 1 && far_ > ring[1] - 1) { cost += 10; }
          });
          placed.forEach(function (o) {
            if (Math.abs(c[0] - o[0]) < half[0] + o[2] + 1 && Math.abs(c[1] - o[1]) < half[1] + o[3] + 1) { cost += 60; }
          });
          segments.forEach(function (s) {
            for (var n = 0; n <= 12; n++) {
              var x = s[0][0] + (s[1][0] - s[0][0]) * n / 12, y = s[0][1] + (s[1][1] - s[0][1]) * n / 12;
              if (Math.abs(x - c[0]) < half[0] + 2 && Math.abs(y - c[1]) < half[1] + 1) { cost += 4; break; }
            }
          });
          if (c[0] - half[0] < 2 || c[0] + half[0] > w - 2 || c[1] - half[1] < 2 || c[1] + half[1] > h - 2) { cost += 80; }
          var away = [at[i][0] - centre[0], at[i][1] - centre[1]], l = Math.sqrt(away[0] * away[0] + away[1] * away[1]) || 1;
          cost -= 1.2 * (u[0] * away[0] + u[1] * away[1]) / l;
          if (best === null || cost < best[0] - 1e-9) { best = [cost, c]; }
        });
      });
      placed.push([best[1][0], best[1][1], half[0], half[1]]);
      text += "<text class=\"label\" x=\"" + short(best[1][0]) + "\" y=\"" + short(best[1][1] + 4.5) + "\" text-anchor=\"middle\" font-size=\"13\" font-family=\"sans-serif\" fill=\"" + look.ink + "\" stroke=\"" + look.paper + "\" stroke-width=\"3\" stroke-opacity=\"0.8\" paint-order=\"stroke\" pointer-events=\"none\">" + escaped(atom.name) + "</text>";
    });
    return text;
  }
  function axes(turn, scale, look, w, h) {
    var text = "", from = [34, h - 34], size = 24, names = [];
    [0, 1, 2].map(function (j) { return [turn[2][j], j]; }).sort(function (a, b) { return a[0] - b[0]; }).forEach(function (one) {
      var j = one[1], to = [from[0] + size * turn[0][j], from[1] - size * turn[1][j]], out = size + 9, name = null;
      do { name = [from[0] + out * turn[0][j], from[1] - out * turn[1][j] + 4]; out += 4; } while (out < 60 && names.some(function (other) { return Math.abs(other[0] - name[0]) < 10 && Math.abs(other[1] - name[1]) < 12; }));
      names.push(name);
      text += "<line x1=\"" + from[0] + "\" y1=\"" + short(from[1]) + "\" x2=\"" + short(to[0]) + "\" y2=\"" + short(to[1]) + "\" stroke=\"" + look.muted + "\" stroke-width=\"1.6\"/>";
      text += "<text class=\"axis\" x=\"" + short(name[0]) + "\" y=\"" + short(name[1]) + "\" text-anchor=\"middle\" font-size=\"12\" font-style=\"italic\" font-family=\"sans-serif\" fill=\"" + look.muted + "\">" + "xyz"[j] + "</text>";
    });
    var unit = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20].filter(function (u) { return u * scale < 0.28 * w; }).pop() || 0.1;
    var right = w - 14, left = right - unit * scale, y = h - 14;
    text += "<path d=\"M" + short(left) + " " + (y - 4) + "V" + y + "H" + short(right) + "V" + (y - 4) + "\" fill=\"none\" stroke=\"" + look.muted + "\" stroke-width=\"1.4\"/>";
    return text + "<text class=\"axis\" x=\"" + short((left + right) / 2) + "\" y=\"" + (y - 8) + "\" text-anchor=\"middle\" font-size=\"12\" font-family=\"sans-serif\" fill=\"" + look.muted + "\">" + unit + " \u00c5</text>";
  }

  function create(svg, scene, changed) {
    var state = {number: 0, turn: start(scene), zoom: 1, picks: [], errors: true, momenta: false, known: true, other: true, names: true, axes: true};
    function options(look, w, h, id) {
      return {look: look, width: w, height: h, id: id, turn: state.turn, zoom: state.zoom, picks: state.picks, errors: state.errors, momenta: state.momenta, known: state.known && state.number === 0, other: state.other && state.number === 0, names: state.names, axes: state.axes};
    }
    var look = LIGHT;
    function draw() {
      var w = svg.clientWidth || 480, h = svg.clientHeight || 360;
      svg.setAttribute("viewBox", "0 0 " + w + " " + h);
      svg.innerHTML = drawn(scene, state.number, options(look, w, h, "ball"));
      if (changed) { changed(state); }
    }
    var down = null;
    svg.addEventListener("pointerdown", function (event) {
      down = {x: event.clientX, y: event.clientY, moved: 0, atom: event.target.getAttribute("data-atom")};
      if (svg.setPointerCapture) { try { svg.setPointerCapture(event.pointerId); } catch (error) { /* a pointer that is gone */ } }
    });
    svg.addEventListener("pointermove", function (event) {
      if (!down) { return; }
      var dx = event.clientX - down.x, dy = event.clientY - down.y;
      down.moved += Math.abs(dx) + Math.abs(dy);
      down.x = event.clientX; down.y = event.clientY;
      if (down.moved > 3) { state.turn = times(times(turnY(0.01 * dx), turnX(0.01 * dy)), state.turn); draw(); }
    });
    svg.addEventListener("pointerup", function () {
      if (down && down.moved <= 3) { pick(down.atom === null ? null : Number(down.atom)); }
      down = null;
    });
    svg.addEventListener("pointercancel", function () { down = null; });
    svg.addEventListener("wheel", function (event) {
      if (!event.ctrlKey && !event.metaKey) { return; }
      event.preventDefault();
      zoom(event.deltaY < 0 ? 1.12 : 1 / 1.12);
    }, {passive: false});
    svg.addEventListener("keydown", function (event) {
      var turns = {ArrowLeft: turnY(-0.1), ArrowRight: turnY(0.1), ArrowUp: turnX(-0.1), ArrowDown: turnX(0.1)};
      if (turns[event.key]) { event.preventDefault(); state.turn = times(turns[event.key], state.turn); draw(); }
    });
    function pick(atom) {
      if (atom === null || state.picks.length === 4) { state.picks = []; }
      if (atom !== null) {
        if (state.picks.indexOf(atom) >= 0) { state.picks = state.picks.filter(function (i) { return i !== atom; }); } else { state.picks = state.picks.concat([atom]); }
      }
      draw();
    }
    function zoom(factor) { state.zoom = Math.min(Math.max(state.zoom * factor, 0.3), 6); draw(); }
    function file(width, height) {
      return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height + "\" viewBox=\"0 0 " + width + " " + height + "\"><rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>" + drawn(scene, state.number, options(LIGHT, width, height, "file")) + "</svg>";
    }
    return {
      state: state, draw: draw, pick: pick, zoom: zoom, file: file,
      set: function (name, value) { state[name] = value; draw(); },
      show: function (number) { state.number = number; draw(); },
      reset: function () { state.turn = start(scene); state.zoom = 1; state.picks = []; draw(); },
      dark: function (yes) { look = yes ? DARK : LIGHT; draw(); },
      small: function (element, number, yes) {
        var w = element.clientWidth || 200, h = element.clientHeight || 130;
        element.setAttribute("viewBox", "0 0 " + w + " " + h);
        element.innerHTML = drawn(scene, number, {look: yes ? DARK : LIGHT, width: w, height: h, id: "small-" + number, turn: start(scene), zoom: 1, small: true, names: false});
      }
    };
  }
  return {create: create, measure: measure};
}());
