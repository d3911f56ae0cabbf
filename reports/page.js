// Draws the charts that are chosen; lets tables be sorted, filtered and saved. Text only, never markup.
const held = JSON.parse(document.getElementById("charts").textContent);

// What the page says, in its language.
function said(name, values = {}) {
  return held.words[name].replace(/\{(\w+)\}/g, (_place, key) => values[key]);
}

function element(name, properties = {}, ...inside) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...inside);
  return made;
}

function button(text, label, act) {
  const made = element("button", { type: "button" }, text);
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function save(name, text, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = element("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// Charts

const tip = element("div", { className: "tip", hidden: true });
tip.setAttribute("role", "tooltip");
document.body.append(tip);

function showTip(_handler, event, _item, value) {
  tip.hidden = !value;
  if (!value) return;
  tip.replaceChildren(
    ...Object.entries(value).map(([name, text]) =>
      element("div", {}, element("span", { textContent: name }), String(text)),
    ),
  );
  const right = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  const down = Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8);
  tip.style.left = `${Math.max(8, right)}px`;
  tip.style.top = `${Math.max(8, down)}px`;
}

const drawn = new Map(); // place -> {spec, result}
const labels = new Map(); // place -> what it shows, in words
const latestDraw = new Map(); // place -> a token: a choice made meanwhile wins

// Definitions that several charts share are held once, and rows without their keys.
function unpacked({ template, keys, values }) {
  const rows = values.map((row) => Object.fromEntries(keys.map((key, i) => [key, row[i]])));
  return { ...held.templates[template], datasets: { rows } };
}

function embed(place, spec, config) {
  const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, mode: "vega-lite" };
  return window.vegaEmbed(place, spec, { ...options, config, tooltip: showTip });
}

async function draw(place, choice) {
  const choices = held.slots[place.dataset.slot] ?? {};
  const found = choices[choice] ?? choices[choice.replace(/-\d+$/, "-0")];
  const latest = {};
  latestDraw.set(place, latest);
  drawn.get(place)?.result.finalize();
  drawn.delete(place);
  place.parentElement.querySelector(".tools")?.remove();
  if (!found) return place.replaceChildren(said("nothing"));
  if (typeof found === "string") return place.replaceChildren(found);
  const spec = unpacked(found);
  const result = await embed(place, spec, held.config);
  if (latestDraw.get(place) !== latest) return result.finalize();
  // Vega names the place after itself; the place is an image with a label of our own, and its parts are not.
  for (const name of place.getAttributeNames()) if (name.startsWith("aria-")) place.removeAttribute(name);
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", labels.get(place));
  place.querySelector("svg").setAttribute("aria-hidden", "true");
  drawn.set(place, { spec, result });
  place.after(toolsOf(place, spec));
  if (spec.params) {
    const look = (_event, item) => lookAt(place.closest("[data-charts]"), item?.datum?.level ?? null);
    result.view.addEventListener("pointermove", look);
    result.view.addEventListener("pointerout", () => lookAt(place.closest("[data-charts]"), null));
  }
}

async function drawSection(section) {
  const chosen = [...section.querySelectorAll("[data-choice]")].map((select) => select.value);
  const choice = chosen.filter(Boolean).join("-");
  for (const legend of section.querySelectorAll("[data-legend]")) {
    legend.hidden = legend.dataset.legend !== chosen[0];
  }
  await Promise.all([...section.querySelectorAll("[data-slot]")].map((place) => draw(place, choice)));
  hideLevels(section);
}

function views(section) {
  return [...drawn].filter(([place, { spec }]) => spec.params && section.contains(place));
}

const looked = new Map();

function lookAt(section, level) {
  if (looked.get(section) === level) return;
  looked.set(section, level);
  for (const [, { result }] of views(section)) result.view.signal("focus", level).runAsync();
  for (const each of section.querySelectorAll(".legend button")) {
    each.classList.toggle("faint", level !== null && each.textContent !== level);
  }
}

function hideLevels(section) {
  const off = [...section.querySelectorAll('.legend:not([hidden]) button[aria-pressed="false"]')];
  const hidden = off.map((each) => each.textContent);
  for (const [, { result }] of views(section)) result.view.signal("hidden", hidden).runAsync();
}

// The levels that the section's charts can highlight and hide.
function levelsOf(section) {
  const places = [...section.querySelectorAll("[data-slot]")];
  const charts = places.flatMap((place) => Object.values(held.slots[place.dataset.slot] ?? {}));
  const specs = charts.flatMap((chart) => held.templates[chart.template] ?? []);
  const colored = specs.filter((spec) => spec.params).flatMap((spec) => spec.layer);
  return new Set(colored.flatMap((layer) => layer.encoding.color?.scale?.domain ?? []));
}

// A legend's levels become buttons: pointing highlights a level in all charts of the section, pressing hides it.
function makeLegend(legend, section) {
  const known = levelsOf(section);
  if (![...legend.children].some((item) => known.has(item.textContent))) return;
  for (const item of legend.children) {
    const toggle = element("button", { type: "button" }, ...item.childNodes);
    toggle.setAttribute("aria-pressed", "true");
    toggle.addEventListener("click", () => {
      const on = toggle.getAttribute("aria-pressed") === "true" ? "false" : "true";
      for (const other of section.querySelectorAll(".legend:not([hidden]) button")) {
        if (other.textContent === toggle.textContent) other.setAttribute("aria-pressed", on);
      }
      hideLevels(section);
    });
    for (const event of ["pointerenter", "focus"]) {
      toggle.addEventListener(event, () => lookAt(section, toggle.textContent));
    }
    for (const event of ["pointerleave", "blur"]) toggle.addEventListener(event, () => lookAt(section, null));
    item.append(toggle);
  }
}

function fileOf(place) {
  const selects = [...(place.closest("[data-charts]")?.querySelectorAll("select") ?? [])];
  const names = selects.map((select) => select.selectedOptions[0].dataset.name);
  const plain = (text) => text.toLowerCase().replace(/[^a-z0-9_]+/g, "-").replace(/^-|-$/g, "").slice(0, 40);
  return [place.dataset.file, ...names.map(plain)].filter(Boolean).join("-");
}

async function saveChart(place, spec) {
  const [legend, width] = [held.file, Math.max(320, place.clientWidth)];
  const aside = element("div");
  const result = await embed(aside, { ...spec, width }, legend);
  const face = document.getElementById("face");
  const brought = face ? `<style>${face.textContent}</style>` : "";
  const drawing = (await result.view.toSVG()).replace(/<svg[^>]*>/, (head) => head + brought);
  save(`${fileOf(place)}.svg`, drawing, "image/svg+xml");
  result.finalize();
}

function tooltipOf(spec) {
  for (const layer of spec.layer ?? [spec]) if (layer.encoding?.tooltip) return layer.encoding.tooltip;
  return [];
}

function numbersOf(spec, label) {
  const columns = tooltipOf(spec);
  const head = element("tr", {}, ...columns.map((c) => element("th", { scope: "col", textContent: c.title })));
  const rows = spec.datasets.rows
    .filter((row) => columns.every((c) => row[c.field] !== null && row[c.field] !== undefined))
    .map((row) => element("tr", {}, ...columns.map((c) => element("td", { textContent: row[c.field] }))));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
  const scroll = element("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", label);
  return scroll;
}

function toolsOf(place, spec) {
  const what = labels.get(place).split(/[;；]/)[0];
  const box = element("div", { className: "tools" });
  const list = button(said("numbers"), said("numbersOf", { what }), () => {
    const open = list.getAttribute("aria-expanded") === "true";
    list.setAttribute("aria-expanded", String(!open));
    if (open) box.querySelector(".scroll").remove();
    else box.append(numbersOf(spec, said("numbersOf", { what })));
  });
  list.setAttribute("aria-expanded", "false");
  box.append(button(said("saveChart"), said("saveChartOf", { what }), () => saveChart(place, spec)), list);
  return box;
}

async function drawAll() {
  for (const place of document.querySelectorAll("[data-slot]")) {
    labels.set(place, place.getAttribute("aria-label"));
  }
  for (const section of document.querySelectorAll("[data-charts]")) {
    for (const legend of section.querySelectorAll(".legend")) makeLegend(legend, section);
    for (const form of section.querySelectorAll("form")) {
      form.addEventListener("submit", (event) => event.preventDefault());
      form.addEventListener("change", () => drawSection(section));
    }
    await drawSection(section);
  }
  document.documentElement.dataset.ready = "yes";
}

// Tables

function textOf(row, column) {
  return row.cells[column].textContent;
}

function compare(column, sign) {
  return (a, b) => {
    const [x, y] = [a.cells[column].dataset.value, b.cells[column].dataset.value];
    if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
    if (x !== undefined || y !== undefined) return x !== undefined ? -1 : 1;
    return sign * textOf(a, column).localeCompare(textOf(b, column), document.documentElement.lang);
  };
}

function rowsOf(body) {
  return [...body.rows].filter((row) => !row.classList.contains("group"));
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    if (heading.classList.contains("plot")) return;
    const sort = button(heading.textContent, "", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      for (const body of table.tBodies) body.append(...rowsOf(body).sort(compare(column, up ? 1 : -1)));
    });
    heading.replaceChildren(sort);
  });
}

function makeFilter(table, box) {
  const bodies = [...table.tBodies];
  const rows = bodies.flatMap(rowsOf);
  const headed = bodies.map((body) => body.querySelector(".group")?.textContent ?? "");
  const plain = (text) => text.toLowerCase().replace(/\s+/g, " ");
  const words = rows.map((row) => plain(`${headed[bodies.indexOf(row.parentElement)]} ${row.textContent}`));
  const input = element("input", { type: "search" });
  const told = element("output");
  box.append(element("label", {}, `${said("filter")} `, input), told);
  const filter = () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !wanted.every((word) => words[i].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    for (const body of bodies) {
      const heading = body.querySelector(".group");
      if (heading) heading.hidden = rowsOf(body).every((row) => row.hidden);
    }
    told.textContent = said("rows", { shown, all: rows.length });
  };
  input.addEventListener("input", filter);
  filter();
}

// What a table shows now: sorted and filtered as it is, without its drawings.
function shownOf(table) {
  const plain = (row) => [...row.cells].filter((cell) => !cell.classList.contains("plot"));
  const texts = (row) => plain(row).map((cell) => cell.textContent);
  const head = plain(table.tHead.rows[0]);
  return {
    caption: table.caption.textContent,
    columns: head.map((cell) => cell.textContent),
    numeric: head.map((cell) => cell.classList.contains("number")),
    groups: [...table.tBodies].map((body) => ({
      heading: body.querySelector(".group")?.textContent ?? "",
      rows: rowsOf(body).filter((row) => !row.hidden).map(texts),
    })).filter((group) => group.rows.length),
  };
}

function csvOf({ columns, groups }) {
  const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const headed = groups.some((group) => group.heading);
  const line = (heading, texts) => [...(headed ? [heading] : []), ...texts].map(quoted).join(",");
  const rows = groups.flatMap((group) => group.rows.map((row) => line(group.heading, row)));
  return [line("group", columns), ...rows, ""].join("\n");
}

// As Python understands white space, so that both write the same table.
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\x00-\x1f\x7f-\x9f]+/g;

function oneLine(text) {
  return text.replace(SPACES, " ").trim();
}

function texOf({ caption, columns, numeric, groups }) {
  const escaped = (text) => [...oneLine(text)].map((letter) => held.tex[letter] ?? letter).join("");
  const line = (texts) => `${texts.map(escaped).join(" & ")} \\\\`;
  const align = numeric.map((right) => (right ? "r" : "l")).join("");
  const lines = [`% ${oneLine(caption)}`, `\\begin{tabular}{${align}}`, "\\toprule", line(columns)];
  for (const { heading, rows } of groups) {
    lines.push("\\midrule");
    if (heading) lines.push(`\\multicolumn{${columns.length}}{l}{\\emph{${escaped(heading)}}} \\\\`);
    lines.push(...rows.map(line));
  }
  return [...lines, "\\bottomrule", "\\end{tabular}", ""].join("\n");
}

function makeTools(table) {
  const name = table.id.replace("table-", "");
  const box = element("div", { className: "controls" });
  const rows = [...table.tBodies].flatMap(rowsOf);
  if (rows.length > 1) makeSortable(table);
  if (rows.length > 12) makeFilter(table, box);
  const tex = () => save(`${name}.tex`, texOf(shownOf(table)), "application/x-tex");
  const csv = () => save(`${name}.csv`, csvOf(shownOf(table)), "text/csv");
  box.append(
    element(
      "span",
      { className: "tools" },
      button(said("saveCsv"), said("saveCsvOf", { table: name }), csv),
      button(said("saveTex"), said("saveTexOf", { table: name }), tex),
    ),
  );
  table.parentElement.before(box);
}

for (const table of document.querySelectorAll("table[id]")) makeTools(table);
drawAll();
