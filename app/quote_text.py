"""Plans for a person to read."""

from __future__ import annotations

from app.schemas.answers import FrontierAnswer, PlanAnswer


def describe_plan(planned: PlanAnswer) -> str:
    """The plan for a person to read."""
    quality = planned.predicted_quality_db
    expected = "unknown" if quality is None else f"{quality.mean:.1f} dB ({quality.low:.1f} to {quality.high:.1f})"
    if quality is not None:
        expected += "".join(
            f", {100 * kept.by:.0f} of 100 pictures {kept.least:.1f} or more" for kept in quality.kept[2:]
        )
    expected += " for this prompt" if planned.by_prompt else ""
    sigmas = " ".join(f"{sigma:.4f}" for sigma in planned.sigmas)
    foreign = " (optimised on another model)" if planned.other_model else ""
    foreign += " (not shown to hold for this guidance, size or budget)" if planned.interpolated else ""
    return (
        f"model        {planned.model}\nschedule     {planned.schedule}{foreign}\nsolver       {planned.solver}\n"
        f"steps        {planned.steps}\nevaluations  {planned.evaluations}\n"
        f"quality      {expected}\n{_seconds(planned)}sigmas       {sigmas}"
    )


def _seconds(planned: PlanAnswer) -> str:
    """The line of seconds, where a worker's speed is known."""
    if planned.predicted_seconds is None or planned.predicted_latency is None:
        return ""
    most = f"95 of 100 such images {planned.predicted_latency.p95:.2f} or less"
    return f"seconds      {planned.predicted_seconds:.2f}, {most}\n"


def describe_frontier(shown: FrontierAnswer) -> str:
    """A line for each schedule."""
    if not shown.data:
        return f"no schedule of {shown.model} was measured at guidance_scale {shown.guidance_scale:g}"
    timed = any(planned.predicted_seconds is not None for planned in shown.data)
    head = f"evaluations  steps  PSNR dB                 {'seconds  ' * timed}schedule"
    return "\n".join([f"{shown.model} at guidance_scale {shown.guidance_scale:g}", head, *map(_line, shown.data)])


def _line(planned: PlanAnswer) -> str:
    quality = planned.predicted_quality_db
    expected = "" if quality is None else f"{quality.mean:.1f} ({quality.low:.1f} to {quality.high:.1f})"
    seconds = "" if planned.predicted_seconds is None else f"{planned.predicted_seconds:<7.2f}  "
    return f"{planned.evaluations:<11}  {planned.steps:<5}  {expected:<22}  {seconds}{planned.schedule}"
