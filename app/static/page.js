// Draws one image: a plan as soon as the budget changes, then a job, its events, its picture.

import { BOUNDS, budgetOf, chooseAlso, chooseKind } from "./bounds.js";
import { remember } from "./earlier.js";
import { events } from "./events.js";
import { showCurve, showFrontier } from "./plots.js";

const KEPT_BY = 0.98; // what a floor stands for, where a request does not say it
const $ = (id) => document.getElementById(id);
const form = $("ask");
let job = null;
let quoted = null;
let shown = null;
let front = [];
let models = [];

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
  const fields = { budget: budgetOf(form) };
  if (form.model.value) fields.model = form.model.value;
  if (form.guidance_scale.value !== "") fields.guidance_scale = form.guidance_scale.valueAsNumber;
  if (form.schedule.value) fields.schedule = form.schedule.value;
  if (form.size.value) fields.size = form.size.value;
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
  for (const { by, least } of quality?.kept.filter(({ by }) => by === KEPT_BY) ?? []) rows[`${100 * by} of 100 pictures`] = `${least.toFixed(1)} dB or more`;
  if (plan.replanned) rows["planned anew"] = `after ${plan.replanned.made} of ${plan.replanned.from_steps} steps`;
  if (plan.by_prompt) rows["told by"] = "the words of the prompt";
  if (plan.predicted_wait_seconds > 0.005) rows["predicted wait"] = `${plan.predicted_wait_seconds.toFixed(2)} s`;
  if (plan.predicted_latency) rows["95 of 100 arrive within"] = `${plan.predicted_latency.p95.toFixed(2)} s`;
  if (plan.predicted_quality) rows["of many steps' quality"] = `${(100 * plan.predicted_quality.mean).toFixed(1)} %`;
  $("plan").replaceChildren(...Object.entries(rows).flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
  showSteps(0);
  showFrontier($("frontier"), front, plan, chooseEvaluations);
}

// The step budget that a click on the frontier stands for.
function chooseEvaluations(evaluations) {
  form.kind.value = "evaluations";
  chooseKind(form, $("amount-name"));
  chooseAlso(form, $("also-field"));
  form.amount.value = evaluations;
  quote();
}

function showSteps(made) {
  showCurve($("curve"), shown.sigmas, made);
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

async function draw() {
  const fields = drawFields();
  const accepted = await (await call("POST", "/v1/jobs", fields)).json();
  job = `/v1/jobs/${accepted.id}`;
  showPlan(accepted.plan);
  for await (const event of events(`${job}/events`, headers())) {
    $("progress").max = event.total;
    $("progress").value = event.kind === "completed" ? event.total : event.step;
    $("caption").textContent = event.kind === "step" ? `step ${event.step} of ${event.total}` : event.kind;
    showSteps(Math.round((event.step / event.total) * accepted.plan.steps));
  }
  const status = await (await call("GET", job)).json();
  if (status.status === "completed") await showImage(status, fields.prompt, accepted.seed);
  else if (status.error) throw new Error(sentences(status.error));
}

async function showImage(status, prompt, seed) {
  const url = URL.createObjectURL(await (await call("GET", status.image)).blob());
  const { queue, service } = status.timings;
  const kept = { true: ", in time", false: ", late" }[status.in_time] ?? "";
  const caption = `seed ${seed}, waited ${queue.toFixed(2)} s, drawn in ${service.toFixed(2)} s${kept}`;
  const { plan } = status;
  const drawn = { url, caption, plan, prompt, label: `${plan.steps} steps, ${service.toFixed(2)} s` };
  showDrawn(drawn);
  remember($("earlier"), drawn, showDrawn);
}

function showDrawn({ url, caption, plan, prompt }) {
  Object.assign($("image"), { src: url, alt: prompt, hidden: false });
  $("blank").hidden = true;
  $("caption").textContent = caption;
  showPlan(plan);
  showSteps(plan.steps);
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
form.kind.addEventListener("change", () => {
  chooseKind(form, $("amount-name"));
  chooseAlso(form, $("also-field"));
});
form.also.addEventListener("change", () => chooseAlso(form, $("also-field")));
form.model.addEventListener("change", () => attempt(chooseModel).then(quote));
for (const name of ["guidance_scale", "size"]) form[name].addEventListener("change", () => attempt(readFrontier).then(quote));
for (const kind of ["input", "change"]) form.addEventListener(kind, quote);

// What the form offers is what the model chosen can do.
async function chooseModel() {
  const model = models.find(({ id }) => id === form.model.value);
  form.schedule.replaceChildren(new Option("the best for this budget", ""), ...model.grids.map((grid) => new Option(grid, grid)));
  form.guidance_scale.placeholder = `${model.guidance_scale}, the model's`;
  const [[least, most], [lowest, highest]] = [model.width, model.height];
  $("size-field").hidden = least === most && lowest === highest;
  form.size.placeholder = `the model's; ${least}x${lowest} to ${most}x${highest}`;
  form.size.value = "";
  BOUNDS.steps[2] = BOUNDS.max_steps[2] = Math.min(30, model.max_steps);
  chooseKind(form, $("amount-name"));
  await readFrontier();
}

// What every budget buys of the model chosen, at the guidance and the size chosen.
async function readFrontier() {
  const { guidance_scale: scale, size } = planFields();
  const asked = new URLSearchParams({ ...(scale && { guidance_scale: scale }), ...(size && { size }) });
  front = (await (await call("GET", `/v1/models/${form.model.value}/frontier?${asked}`)).json()).data;
}

async function load() {
  models = (await (await call("GET", "/v1/models")).json()).data;
  form.model.replaceChildren(...models.map(({ id }) => new Option(id, id)));
  $("model-field").hidden = models.length < 2;
  await chooseModel();
}

// A server with keys tells nothing before it has seen one.
form.key.addEventListener("change", () => models.length || attempt(load).then(quote));

chooseKind(form, $("amount-name"));
await attempt(load);
await quote();
