"""The `pacer` command, where the parts are put together. Each subcommand loads only what it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

import pacer
from pacer.errors import PacerError
from pacer.settings import Settings

app = typer.Typer(
    name="pacer",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

Model = Annotated[str | None, typer.Option(help="A served model's id, name or folder; the first served by default.")]
GuidanceScale = Annotated[float | None, typer.Option(help="The model's own by default.")]
Live = Annotated[
    bool | None, typer.Option("--live", help="Take the speed that workers on the store of PACER_REDIS_URL publish.")
]
Speed = Annotated[Path | None, typer.Option(help="Instead of it: a worker's speed as JSON.")]


def main() -> None:
    """Run the command; what a person did wrong ends it with one line and exit code 2."""
    try:
        app()
    except (PacerError, ValueError) as error:
        typer.echo(f"pacer: {_one_line(error)}", err=True)
        raise SystemExit(2) from None


@app.callback(invoke_without_command=True)
def options(*, version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False) -> None:
    """Images under a budget."""
    if version:
        typer.echo(f"pacer {pacer.__version__}")
        raise typer.Exit


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address on which the gateway listens.")] = None,
    port: Annotated[int | None, typer.Option(help="Port on which the gateway listens; 0 takes a free one.")] = None,
) -> None:
    """Run a store, a gateway and a worker per model until Ctrl-C; PACER_REDIS_URL replaces the store."""
    from app.up import up as run_up

    raise typer.Exit(run_up(_settings(host=host, port=port), typer.echo))


@app.command()
def gateway(
    host: Annotated[str | None, typer.Option(help="Address on which to listen.")] = None,
    port: Annotated[int | None, typer.Option(help="Port on which to listen.")] = None,
) -> None:
    """Run one gateway on the store that PACER_REDIS_URL names."""
    from app.serve import serve

    serve(_settings(host=host, port=port))


@app.command()
def worker(model: Model = None) -> None:
    """Run one worker on the store that PACER_REDIS_URL names."""
    from app import logs
    from pacer.models import source_of
    from workers.cli import main as run_worker

    settings = _settings()
    logs.configure(settings)
    raise typer.Exit(run_worker(settings, source_of(model, settings)))


@app.command()
def download(model: Annotated[str, typer.Argument(help="A hub id: owner/name, or owner/name@revision.")]) -> None:
    """Fetch a model of the hub into its cache, which gateways read; prints its folder."""
    from workers.cli import download as run_download

    typer.echo(run_download(model))


@app.command()
def plan(
    *,
    model: Model = None,
    steps: Annotated[int | None, typer.Option(help="Step budget.")] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Most network evaluations for one image; a guided step takes two.")
    ] = None,
    latency_ms: Annotated[
        int | None, typer.Option(help="Most milliseconds from arrival to the image; needs --live or --speed.")
    ] = None,
    min_quality: Annotated[
        float | None, typer.Option(help="Least share of the many-step teacher's quality, 0 to 1.")
    ] = None,
    min_psnr_db: Annotated[float | None, typer.Option(help="Least PSNR to the many-step teacher.")] = None,
    kept_by: Annotated[
        float | None, typer.Option(help="Share of the pictures by which a floor is kept, 0.98 by default.")
    ] = None,
    min_steps: Annotated[int | None, typer.Option(help="Fewest steps.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Most steps.")] = None,
    prompt: Annotated[str | None, typer.Option(help="What will be drawn: floors then follow from its words.")] = None,
    guidance_scale: GuidanceScale = None,
    schedule: Annotated[str | None, typer.Option(help="A registry id model/solver[@variant]/steps, or a grid.")] = None,
    solver: Annotated[str | None, typer.Option(help="The solver wanted.")] = None,
    sigmas: Annotated[str | None, typer.Option(help="Own noise levels, comma-separated, the last 0.")] = None,
    allow_other_model: Annotated[bool, typer.Option(help="Take a schedule that was optimised elsewhere.")] = False,
    allow_interpolated: Annotated[
        bool, typer.Option(help="Take a searched schedule outside the guidance and sizes it was shown for.")
    ] = False,
    live: Live = None,
    speed: Speed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Say what would be run for a budget, from the registry alone: no worker, and no store but for --live."""
    from app.quote import Bounds, quote_locally, read_sigmas
    from app.quote_text import describe_plan
    from app.stages import Stages

    bounds = Bounds(
        steps=steps, evaluations=evaluations, latency_s=None if latency_ms is None else latency_ms / 1000,
        min_quality=min_quality, min_psnr_db=min_psnr_db, kept_by=kept_by, min_steps=min_steps, max_steps=max_steps,
    )  # fmt: skip
    planned = quote_locally(
        _settings(),
        bounds,
        prompt=prompt,
        stages=Stages(live=live, speed=speed),
        model=model,
        guidance_scale=guidance_scale,
        schedule=schedule,
        solver=solver,
        sigmas=None if sigmas is None else read_sigmas(sigmas),
        allow_other_model=allow_other_model,
        allow_interpolated=allow_interpolated,
    )
    typer.echo(json.dumps(planned.model_dump(), indent=2) if as_json else describe_plan(planned))


@app.command()
def frontier(
    *,
    model: Model = None,
    guidance_scale: GuidanceScale = None,
    live: Live = None,
    speed: Speed = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plans as JSON.")] = False,
) -> None:
    """Say what each further evaluation buys: the schedules that no other beats, from the registry alone."""
    from app.quote import frontier_locally
    from app.quote_text import describe_frontier
    from app.stages import Stages

    shown = frontier_locally(_settings(), Stages(live=live, speed=speed), model=model, guidance_scale=guidance_scale)
    typer.echo(json.dumps(shown.model_dump(), indent=2) if as_json else describe_frontier(shown))


@app.command()
def simulate(
    *,
    workers: Annotated[str, typer.Option(help="How many workers, as in 1,2,4: a row of figures for each.")] = "1",
    model: Model = None,
    arrivals: Annotated[Path | None, typer.Option(help="A trace: CSV with the column at and those of budgets.")] = None,
    rate: Annotated[float | None, typer.Option(help="Instead of a trace: mean arrivals a second.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long they come.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same arrivals; 0 by default.")] = None,
    budgets: Annotated[
        str | None, typer.Option(help="Steps and weights, 4:50,8:30,20:15,50:5 by default; 4-20:30 is a range.")
    ] = None,
    deadline_factor: Annotated[
        str | None, typer.Option(help="Deadlines in service times, least,most, as in 1.5,5; none by default.")
    ] = None,
    write_trace: Annotated[Path | None, typer.Option(help="Write the arrivals to this file.")] = None,
    live: Live = None,
    speed: Speed = None,
    turn_ms: Annotated[float | None, typer.Option(help="Instead of it: of a network call, whatever is in it.")] = None,
    row_ms: Annotated[float | None, typer.Option(help="What each row of the call adds.")] = None,
    encode_ms: Annotated[float | None, typer.Option(help="Of a prompt; 0 by default.")] = None,
    decode_ms: Annotated[float | None, typer.Option(help="Of a picture; 0 by default.")] = None,
    deliver_ms: Annotated[float | None, typer.Option(help="From pixels to the caller; 0 by default.")] = None,
    rows: Annotated[int | None, typer.Option(help="Most rows of a call; PACER_MAX_BATCH_ROWS by default.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Say how many workers a traffic needs, by the gateway's own admission and the workers' own batcher."""
    from app.simulate import Traffic
    from app.simulate import simulate as run_simulation
    from app.simulated_table import show
    from app.stages import Stages

    simulated = run_simulation(
        _settings(),
        Traffic(
            arrivals=arrivals, rate=rate, seconds=seconds, seed=seed, budgets=budgets, deadline_factor=deadline_factor
        ),
        Stages(
            live=live, speed=speed, turn_ms=turn_ms, row_ms=row_ms, encode_ms=encode_ms, decode_ms=decode_ms,
            deliver_ms=deliver_ms, rows=rows,
        ),
        model=model,
        workers=workers,
        write=write_trace,
    )  # fmt: skip
    if json_file is not None:
        simulated.write_json(json_file)
    show(simulated)


@app.command(context_settings=_PASSED_ON)
def schedules(context: typer.Context) -> None:
    """Search, show and bench schedules; `pacer schedules --help` says more."""
    from workers.cli import schedules as run_schedules

    raise typer.Exit(run_schedules(_settings(), context.args))


def _settings(**given: object) -> Settings:
    """The settings of the environment under what the command line says."""
    return Settings.model_validate({**Settings().model_dump(), **{k: v for k, v in given.items() if v is not None}})


def _one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors()[0]
        place = "_".join(("PACER", *(str(part).upper() for part in problem["loc"][:1])))
        return f"{place}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{error} {error.kind.advice}" if isinstance(error, PacerError) else str(error)


if __name__ == "__main__":
    main()
