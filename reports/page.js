// Draws the charts that are chosen, and lets long tables be sorted and filtered. Text only, never markup.
const held = JSON.parse(document.getElementById("charts").textContent);

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);

function showTip(_handler, event, _item, value) {
  tip.hidden = !value;
  if (!value) return;
  tip.replaceChildren(
    ...Object.entries(value).map(([name, text]) => {
      const line = document.createElement("div");
      const key = document.createElement("span");
      key.textContent = name;
      line.append(key, String(text));
      return line;
    }),
  );
  const right = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  const down = Math.min(event.clientY + 14, window.innerHeight - tip.offsetHeight - 8);
  tip.style.left = `${Math.max(8, right)}px`;
  tip.style.top = `${Math.max(8, down)}px`;
}

const drawn = new Map();

async function draw(place, choice) {
  const choices = held.slots[place.dataset.slot] ?? {};
  const spec = choices[choice] ?? choices[choice.replace(/-\d+$/, "-0")];
  if (!spec) return place.replaceChildren();
  drawn.get(place)?.finalize();
  const options = { ast: true, actions: false, renderer: "svg", defaultStyle: false, mode: "vega-lite" };
  drawn.set(place, await window.vegaEmbed(place, spec, { ...options, config: held.config, tooltip: showTip }));
}

async function drawSection(section) {
  const choice = [...section.querySelectorAll("[data-choice]")].map((select) => select.value).join("-");
  for (const legend of section.querySelectorAll("[data-legend]")) {
    legend.hidden = legend.dataset.legend !== choice.split("-")[0];
  }
  await Promise.all([...section.querySelectorAll("[data-slot]")].map((place) => draw(place, choice)));
}

async function drawAll() {
  for (const section of document.querySelectorAll("[data-charts]")) {
    for (const form of section.querySelectorAll("form")) {
      form.addEventListener("submit", (event) => event.preventDefault());
      form.addEventListener("change", () => drawSection(section));
    }
    await drawSection(section);
  }
  document.documentElement.dataset.ready = "yes";
}

function textOf(row, column) {
  return row.cells[column].textContent;
}

function compare(column, sign) {
  return (a, b) => {
    const [x, y] = [a.cells[column].dataset.value, b.cells[column].dataset.value];
    if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
    if (x !== undefined || y !== undefined) return x !== undefined ? -1 : 1;
    return sign * textOf(a, column).localeCompare(textOf(b, column), "en");
  };
}

function makeSortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      for (const body of table.tBodies) {
        body.append(...[...body.rows].sort(compare(column, up ? 1 : -1)));
      }
    });
  });
}

function makeFilter(table) {
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  const words = rows.map((row) => row.textContent.toLowerCase().replace(/\s+/g, " "));
  const label = document.createElement("label");
  const input = document.createElement("input");
  const told = document.createElement("output");
  input.type = "search";
  input.placeholder = "relu he adam";
  label.append("Filter ", input);
  const box = document.createElement("div");
  box.className = "controls";
  box.append(label, told);
  table.parentElement.before(box);
  const filter = () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !wanted.every((word) => words[i].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    told.textContent = `${shown} of ${rows.length} rows`;
  };
  input.addEventListener("input", filter);
  filter();
}

for (const table of document.querySelectorAll("table.tools")) {
  makeSortable(table);
  makeFilter(table);
}
drawAll();
