// What a budget may be said in: its name, the slider's least, most and step, and where it begins.
export const BOUNDS = {
  steps: ["Steps", 1, 30, 1, 6],
  max_steps: ["Steps, at most", 1, 30, 1, 12],
  latency_ms: ["Milliseconds", 100, 5000, 50, 1000],
  evaluations: ["Evaluations", 1, 60, 1, 12],
  min_psnr_db: ["PSNR to many steps, at least", 15, 55, 0.5, 40],
  min_quality: ["Share of many steps' quality, at least", 0.5, 1, 0.005, 0.95],
};

// What each bound leaves no room for beside it.
const NOT_BESIDE = { steps: ["max_steps"] };

// The budget that the form asks for: one bound, and another where one is chosen.
export function budgetOf(form) {
  const budget = { [form.kind.value]: form.amount.valueAsNumber };
  const also = form.also_amount.valueAsNumber;
  if (form.also.value && !Number.isNaN(also)) budget[form.also.value] = also;
  return budget;
}

// Give the slider the range of its bound.
export function chooseKind(form, name) {
  const [said, least, most, step, value] = BOUNDS[form.kind.value];
  name.textContent = said;
  Object.assign(form.amount, { min: least, max: most, step, value });
  const barred = [form.kind.value, ...(NOT_BESIDE[form.kind.value] ?? [])];
  for (const option of form.also.options) option.disabled = barred.includes(option.value);
}

// Show the second bound's number where there is one, as it begins.
export function chooseAlso(form, field) {
  if (form.also.selectedOptions[0].disabled) form.also.value = "";
  field.hidden = !form.also.value;
  if (form.also.value) [, form.also_amount.min, , , form.also_amount.value] = BOUNDS[form.also.value];
}
