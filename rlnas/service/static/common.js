// What the pages have in common: requests, figures, and small drawings in SVG.

export async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw { detail: "The server does not answer; it is tried again.", errors: [] };
  }
  if (answer.status === 401) location.assign("/login");
  const text = await answer.text();
  const json = answer.headers.get("Content-Type")?.includes("json");
  const found = json && text ? JSON.parse(text) : text;
  if (!answer.ok) throw json ? found : { detail: `The server answered ${answer.status}.`, errors: [] };
  return found;
}

export function notice(text) {
  const line = document.getElementById("notice");
  line.textContent = text ?? "";
  line.hidden = !text;
}

export const figure = (value) => (value === null || value === undefined ? "-" : value.toFixed(4));

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "-";
  const whole = Math.round(seconds);
  if (whole >= 3600) return `${Math.floor(whole / 3600)}h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")}m`;
  if (whole >= 60) return `${Math.floor(whole / 60)}m ${String(whole % 60).padStart(2, "0")}s`;
  return `${whole}s`;
}

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function shape(name, attributes = {}, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function spark(values) {
  const drawn = shape("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  if (values.length < 2) return drawn;
  const low = Math.min(...values), span = Math.max(...values) - low || 1;
  const points = values.map((value, at) => `${(at / (values.length - 1)) * 98 + 1},${18 - ((value - low) / span) * 16}`);
  drawn.append(shape("polyline", { class: "spark", points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
  return drawn;
}

function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let index = Math.ceil(low / step); index * step <= high + step * 1e-9 && found.length < 50; index++) found.push(Number((index * step).toPrecision(12)));
  return found;
}

// Ticks of a logarithmic axis from 10 ** low to 10 ** high.
function decades(low, high, most) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power++) {
    for (const digit of [1, 2, 5]) {
      const at = Math.log10(digit) + power;
      if (at >= low && at <= high) found.push(digit * 10 ** power);
    }
  }
  return found.length <= most ? found : found.filter((each) => Number.isInteger(Math.round(Math.log10(each) * 1e6) / 1e6));
}

const short = (value) => (Math.abs(value) >= 1e6 ? `${+(value / 1e6).toPrecision(3)}M` : Math.abs(value) >= 1e4 ? `${+(value / 1e3).toPrecision(3)}k` : String(+value.toPrecision(4)));

// A frame with axes; returns the SVG and functions from values to places.
export function frame(box, label, xs, ys, { x, y, log = false }) {
  const width = Math.max(320, Math.min(box.clientWidth || 800, 1200)); // so that text keeps its size
  const [height, left, right, top, bottom] = [width < 500 ? 240 : 320, 66, 14, 14, 42];
  const drawn = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const scale = log ? Math.log10 : (value) => value;
  const bounds = (values) => {
    const low = Math.min(...values), high = Math.max(...values);
    const size = Math.abs(high) || 1, apart = high - low > size * 1e-6 ? high - low : size; // as good as equal
    return [low - apart * 0.04, high + apart * 0.04];
  };
  const [x0, x1] = bounds(xs.map(scale)), [y0, y1] = bounds(ys);
  const atX = (value) => left + ((scale(value) - x0) / (x1 - x0)) * (width - left - right);
  const atY = (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - top - bottom);
  for (const tick of ticks(y0, y1, 5)) {
    drawn.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: atY(tick), y2: atY(tick) }));
    drawn.append(shape("text", { x: left - 8, y: atY(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  const marks = log ? decades(x0, x1, width / 70) : ticks(x0, x1, width / 100).filter((each) => each >= 0 && Number.isInteger(each));
  for (const tick of marks) {
    drawn.append(shape("text", { x: atX(tick), y: height - bottom + 18, "text-anchor": "middle" }, short(tick)));
  }
  drawn.append(shape("text", { x: (left + width) / 2, y: height - 6, "text-anchor": "middle" }, x));
  drawn.append(shape("text", { x: 12, y: height / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${height / 2})` }, y));
  return { drawn, atX, atY, left, right: width - right };
}
