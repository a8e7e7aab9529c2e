// The two drawings beside a plan: its noise levels, and what every budget buys.

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [320, 160, 24, 16];

// Noise level at each step, the steps that were made filled.
export function showCurve(svg, sigmas, step) {
  const top = sigmas[0];
  const x = (i) => LEFT + (i / (sigmas.length - 1)) * (WIDTH - LEFT - 6);
  const y = (sigma) => 6 + (1 - sigma / top) * (HEIGHT - BOTTOM - 6);
  const points = sigmas.map((sigma, i) => [x(i), y(sigma)]);
  svg.replaceChildren(
    drawn("line", { x1: LEFT, y1: y(0), x2: WIDTH, y2: y(0) }),
    drawn("line", { x1: LEFT, y1: 0, x2: LEFT, y2: y(0) }),
    drawn("text", { x: 0, y: y(top) + 4 }, top.toFixed(1)),
    drawn("text", { x: 0, y: y(0) + 4 }, "0"),
    drawn("text", { x: LEFT, y: HEIGHT }, "noise level at each step"),
    drawn("path", { d: `M${points.map((point) => point.join(" ")).join("L")}` }),
    ...points.map(([cx, cy], i) => drawn("circle", { cx, cy, r: 3.5, class: i <= step && step > 0 ? "done" : "" })),
  );
}

// Quality against evaluations, the plan's own place filled; a click on a budget chooses it.
export function showFrontier(svg, front, plan, choose) {
  const points = front.map(({ evaluations, predicted_quality_db: { mean } }) => [evaluations, mean]);
  svg.toggleAttribute("hidden", points.length < 2);
  if (points.length < 2) return;
  const [most, [low, high]] = [points.at(-1)[0], [points[0][1], points.at(-1)[1]]];
  const x = (evaluations) => LEFT + (Math.min(evaluations, most) / most) * (WIDTH - LEFT - 6);
  const y = (mean) => 6 + ((high - mean) / (high - low)) * (HEIGHT - BOTTOM - 12);
  svg.replaceChildren(
    drawn("line", { x1: LEFT, y1: HEIGHT - BOTTOM, x2: WIDTH, y2: HEIGHT - BOTTOM }),
    drawn("line", { x1: LEFT, y1: 0, x2: LEFT, y2: HEIGHT - BOTTOM }),
    drawn("text", { x: 0, y: y(high) + 4 }, high.toFixed(0)),
    drawn("text", { x: 0, y: y(low) + 4 }, low.toFixed(0)),
    drawn("text", { x: LEFT, y: HEIGHT }, `dB against network evaluations, 1 to ${most}`),
    drawn("path", { d: `M${points.map(([n, mean]) => `${x(n)} ${y(mean)}`).join("L")}` }),
    ...points.map(([n, mean]) => budget(n, mean, x(n), y(mean), choose)),
    ...here(plan, x, y),
  );
}

function budget(evaluations, mean, cx, cy, choose) {
  const point = drawn("circle", { cx, cy, r: 3, class: "budget" });
  point.append(drawn("title", {}, `${evaluations} evaluations: ${mean.toFixed(1)} dB`));
  point.addEventListener("click", () => choose(evaluations));
  return point;
}

function here(plan, x, y) {
  const quality = plan.predicted_quality_db;
  return quality ? [drawn("circle", { cx: x(plan.evaluations), cy: y(quality.mean), r: 4.5, class: "done" })] : [];
}

function drawn(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}
