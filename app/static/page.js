// Draws one image: a plan as soon as the budget changes, then a job, its events, its picture.

import { events } from "./events.js";

const $ = (id) => document.getElementById(id);
const form = $("ask");
let job = null;
let quoted = null;
let shown = null;
let front = [];

// What the slider means for each kind of budget: its name, least, most, step, and where it begins.
const KINDS = {
  steps: ["Steps", 1, 30, 1, 6],
  latency_ms: ["Milliseconds", 100, 5000, 50, 1000],
  evaluations: ["Evaluations", 1, 60, 1, 12],
  min_psnr_db: ["PSNR to many steps, at least", 15, 55, 0.5, 40],
};

function headers() {
  const key = form.key.value;
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function call(method, path, body) {
  const asked = { method, headers: headers() };
  if (body) {
    asked.body = JSON.stringify(body);
    asked.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, asked);
  if (answer.ok) return answer;
  if (answer.status === 401) $("key-field").hidden = false;
  const problem = await answer.json().catch(() => ({ detail: answer.statusText }));
  throw new Error(sentences(problem));
}

function sentences({ detail, advice = "" }) {
  return `${detail.replace(/\.$/, "")}. ${advice}`;
}

function planFields() {
  const fields = { budget: { [form.kind.value]: form.amount.valueAsNumber } };
  if (form.guidance_scale.value !== "") fields.guidance_scale = form.guidance_scale.valueAsNumber;
  if (form.schedule.value) fields.schedule = form.schedule.value;
  return fields;
}

function drawFields() {
  const fields = { ...planFields(), prompt: form.prompt.value };
  if (form.seed.value !== "") fields.seed = form.seed.valueAsNumber;
  return fields;
}

async function quote() {
  clearTimeout(quoted);
  $("amount-shown").value = form.amount.value;
  const fields = planFields();
  if (form.prompt.value.trim()) fields.prompt = form.prompt.value;
  quoted = setTimeout(() => attempt(async () => showPlan(await (await call("POST", "/v1/plan", fields)).json())), 120);
}

function showPlan(plan) {
  shown = plan;
  const quality = plan.predicted_quality_db;
  const rows = {
    schedule: plan.schedule,
    solver: plan.solver,
    steps: plan.steps,
    evaluations: plan.evaluations,
    "predicted time": plan.predicted_seconds === null ? "not measured yet" : `${plan.predicted_seconds.toFixed(2)} s`,
    "predicted quality": quality
      ? `${quality.mean.toFixed(1)} dB (${quality.low.toFixed(1)} to ${quality.high.toFixed(1)})`
      : "no evidence",
  };
  for (const { by, least } of (quality?.kept ?? []).slice(-1)) rows[`${100 * by} of 100 pictures`] = `${least.toFixed(1)} dB or more`;
  if (plan.replanned) rows["planned anew"] = `after ${plan.replanned.made} of ${plan.replanned.from_steps} steps`;
  if (plan.by_prompt) rows["told by"] = "the words of the prompt";
  if (plan.predicted_wait_seconds > 0.005) rows["predicted wait"] = `${plan.predicted_wait_seconds.toFixed(2)} s`;
  if (plan.predicted_latency) rows["95 of 100 arrive within"] = `${plan.predicted_latency.p95.toFixed(2)} s`;
  if (plan.predicted_quality) rows["of many steps' quality"] = `${(100 * plan.predicted_quality.mean).toFixed(1)} %`;
  $("plan").replaceChildren(...Object.entries(rows).flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  showCurve(0);
  showFrontier(plan);
}

function chooseKind() {
  const [name, least, most, step, value] = KINDS[form.kind.value];
  $("amount-name").textContent = name;
  Object.assign(form.amount, { min: least, max: most, step, value });
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function showCurve(step) {
  const [width, height, left, bottom] = [320, 160, 24, 16];
  const { sigmas } = shown;
  const top = sigmas[0];
  const x = (i) => left + (i / (sigmas.length - 1)) * (width - left - 6);
  const y = (sigma) => 6 + (1 - sigma / top) * (height - bottom - 6);
  const points = sigmas.map((sigma, i) => [x(i), y(sigma)]);
  $("curve").replaceChildren(
    drawn("line", { x1: left, y1: y(0), x2: width, y2: y(0) }),
    drawn("line", { x1: left, y1: 0, x2: left, y2: y(0) }),
    drawn("text", { x: 0, y: y(top) + 4 }, top.toFixed(1)),
    drawn("text", { x: 0, y: y(0) + 4 }, "0"),
    drawn("text", { x: left, y: height }, "noise level at each step"),
    drawn("path", { d: `M${points.map((point) => point.join(" ")).join("L")}` }),
    ...points.map(([cx, cy], i) => drawn("circle", { cx, cy, r: 3.5, class: i <= step && step > 0 ? "done" : "" })),
  );
}

function showFrontier(plan) {
  const [width, height, left, bottom] = [320, 160, 24, 16];
  const quality = plan.predicted_quality_db;
  const points = front.map(({ evaluations, predicted_quality_db: { mean } }) => [evaluations, mean]);
  $("frontier").toggleAttribute("hidden", points.length < 2);
  if (points.length < 2) return;
  const [most, [low, high]] = [points.at(-1)[0], [points[0][1], points.at(-1)[1]]];
  const x = (evaluations) => left + (Math.min(evaluations, most) / most) * (width - left - 6);
  const y = (mean) => 6 + ((high - mean) / (high - low)) * (height - bottom - 12);
  const here = quality ? [drawn("circle", { cx: x(plan.evaluations), cy: y(quality.mean), r: 4.5, class: "done" })] : [];
  $("frontier").replaceChildren(
    drawn("line", { x1: left, y1: height - bottom, x2: width, y2: height - bottom }),
    drawn("line", { x1: left, y1: 0, x2: left, y2: height - bottom }),
    drawn("text", { x: 0, y: y(high) + 4 }, high.toFixed(0)),
    drawn("text", { x: 0, y: y(low) + 4 }, low.toFixed(0)),
    drawn("text", { x: left, y: height }, `dB against network evaluations, 1 to ${most}`),
    drawn("path", { d: `M${points.map(([n, mean]) => `${x(n)} ${y(mean)}`).join("L")}` }),
    ...here,
  );
}

function drawn(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

async function draw() {
  const accepted = await (await call("POST", "/v1/jobs", drawFields())).json();
  job = `/v1/jobs/${accepted.id}`;
  showPlan(accepted.plan);
  for await (const event of events(`${job}/events`, headers())) {
    $("progress").max = event.total;
    $("progress").value = event.kind === "completed" ? event.total : event.step;
    $("caption").textContent = event.kind === "step" ? `step ${event.step} of ${event.total}` : event.kind;
    showCurve(Math.round((event.step / event.total) * accepted.plan.steps));
  }
  const status = await (await call("GET", job)).json();
  if (status.status === "completed") await showImage(status, accepted.seed);
  else if (status.error) throw new Error(sentences(status.error));
}

async function showImage(status, seed) {
  const image = $("image");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(await (await call("GET", status.image)).blob());
  image.alt = form.prompt.value;
  image.hidden = false;
  $("blank").hidden = true;
  const { queue, service } = status.timings;
  const kept = { true: ", in time", false: ", late" }[status.in_time] ?? "";
  $("caption").textContent = `seed ${seed}, waited ${queue.toFixed(2)} s, drawn in ${service.toFixed(2)} s${kept}`;
  if (status.plan.replanned) showPlan(status.plan);
  showCurve(shown.steps);
}

async function attempt(work) {
  $("message").textContent = "";
  try {
    await work();
  } catch (error) {
    $("message").textContent = error.message;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  $("draw").disabled = true;
  $("stop").disabled = false;
  $("progress").value = 0;
  await attempt(draw);
  $("draw").disabled = false;
  $("stop").disabled = true;
  job = null;
});

$("stop").addEventListener("click", () => job && attempt(() => call("DELETE", job)));
form.kind.addEventListener("input", chooseKind);
for (const name of ["prompt", "kind", "amount", "guidance_scale", "schedule", "key"]) form[name].addEventListener("input", quote);

await attempt(async () => {
  const { data } = await (await call("GET", "/v1/models")).json();
  form.schedule.append(...data[0].grids.map((grid) => new Option(grid, grid)));
  KINDS.steps[2] = Math.min(30, data[0].max_steps);
  chooseKind();
  front = (await (await call("GET", `/v1/models/${data[0].id}/frontier`)).json()).data;
});
await quote();
