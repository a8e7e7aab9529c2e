"""Settings: every one has a default, a line of documentation, and an environment variable PACER_<NAME>."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pacer.control.policies import PolicyName

QualityLevel = Literal["low", "medium", "high"]
"""OpenAI's quality levels that have a step budget."""

LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100.0
"""Of a key's share beside that of a key without a weight."""


class Settings(BaseSettings):
    """What an operator can set; read once at start, frozen afterwards."""

    model_config = SettingsConfigDict(env_prefix="PACER_", frozen=True, extra="forbid")

    redis_url: str | None = Field(
        default=None, description="Redis >= 7.0 or Valkey to use; without it `pacer up` starts its own store."
    )
    data_dir: Path = Field(default=Path("data"), description="Folder of the embedded store's append-only file.")
    host: str = Field(default="127.0.0.1", description="Address on which the gateway, and a worker's /metrics, listen.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port on which the gateway listens.")
    worker_metrics_port: int = Field(
        default=9101,
        ge=0,
        le=65535,
        description="Port of a worker's own /metrics, `pacer up` counts up from it; 0 turns it off.",
    )
    models: tuple[str, ...] = Field(
        default=("shapes-64",),
        description="Models served, as a JSON list of names, local folders or hub ids (owner/name@revision).",
    )
    cards_dir: Path | None = Field(
        default=None,
        description="Folder of model cards for hub ids, OWNER--NAME.json; they come before all other cards.",
    )
    api_keys: tuple[str, ...] = Field(
        default=(), description="SHA-256 hex digests of accepted bearer keys; empty means open to all."
    )
    key_weights: dict[str, float] = Field(
        default={},
        description="Shares of the workers' time, by key digest; a key that is not named weighs 1.",
    )
    max_body_bytes: int = Field(default=1_000_000, ge=1_000, description="Largest request body accepted, in bytes.")
    max_image_bytes: int = Field(
        default=10_000_000,
        ge=1_000,
        description="Largest image or mask file that a request may start from, in bytes; such bodies may be larger.",
    )
    max_image_pixels: int = Field(
        default=16_777_216, ge=4_096, description="Most pixels of an image that a request starts from."
    )
    max_prompt_chars: int = Field(default=4_000, ge=1, description="Longest prompt accepted, in characters.")
    max_steps: int = Field(default=100, ge=1, le=1_000, description="Most steps that a request may ask for.")
    default_steps: int = Field(
        default=10, ge=1, validate_default=True, description="Steps of a request that names no budget."
    )
    quality_steps: dict[QualityLevel, int] = Field(
        default={"low": 4, "medium": 8, "high": 16},
        validate_default=True,
        description="Step budgets that OpenAI's quality levels stand for; auto is default_steps.",
    )
    quality_budgets: dict[QualityLevel, dict[str, int | float]] = Field(
        default={},
        description="Whole budgets that quality levels stand for instead of steps, such as "
        '{"high": {"min_psnr_db": 45, "kept_by": 0.95, "max_steps": 20}, "low": {"latency_ms": 800, "min_steps": 4}}.',
    )
    max_images: int = Field(default=10, ge=1, le=10, description="Most images of one request (OpenAI's n).")
    queue_limit: int = Field(default=256, ge=1, description="Jobs that may wait per model before 429.")
    max_bind_s: int = Field(default=60, ge=1, description="Most seconds for which a quoted schedule is kept.")
    sync_timeout_s: float = Field(
        default=120.0, gt=0, description="Seconds that /v1/images/generations waits for its images."
    )
    best_effort_slack_s: float = Field(
        default=60.0,
        gt=0,
        description="Slack in seconds given to jobs without a deadline; orders them against others, and is the time in "
        "which those with a range of steps are to be drawn.",
    )
    result_ttl_s: int = Field(default=3_600, ge=1, description="Seconds that a finished job and its image are kept.")
    lease_s: float = Field(
        default=12.0, gt=0, description="Seconds after which an unattended job goes to another worker."
    )
    beat_s: float = Field(
        default=0.25, gt=0, description="Seconds between a worker's beats: leases, its speed, cancellations, new plans."
    )
    drain_s: float = Field(
        default=5.0, ge=0, description="Seconds in which a stopping worker finishes jobs before it gives the rest back."
    )
    max_attempts: int = Field(default=3, ge=1, description="Times that a job is tried before it fails.")
    max_batch_rows: int = Field(default=16, ge=1, description="Most network rows in one call.")
    slots: int = Field(
        default=16,
        ge=1,
        description="Requests that a worker holds at once, promises on express seats left out; more would idle others.",
    )
    policy: PolicyName = Field(
        default="balanced", description="Which of a worker's requests step first when not all fit into one batch."
    )
    degrade_at: float = Field(
        default=0.35,
        gt=0,
        le=1,
        description="Share of what may be promised from which on requests that accept fewer steps do not get the most.",
    )
    replan: bool = Field(
        default=True,
        description="Whether workers plan requests anew that leave their steps open: more where the crowd has gone, "
        "fewer where they would be late.",
    )
    aging_s: float = Field(
        default=30.0, gt=0, description="Seconds after which a request in a worker no longer waits for the policy."
    )
    batch_invariant: bool = Field(
        default=False, description="Whether an image's bits are the same whatever else is in the batch; costs speed."
    )
    overlap: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether prompts are encoded and images decoded beside the steps; auto: on a GPU only.",
    )
    compile: bool = Field(
        default=False, description="Whether workers compile the network: faster, after a minute or two at their start."
    )
    cuda_graphs: bool = Field(
        default=False,
        description="Whether workers record the compiled network's calls as CUDA graphs and replay them, in batches "
        "filled up to 1, 2, 4, 8, ... rows; needs PACER_COMPILE and a GPU.",
    )
    weights: Literal["plain", "float8"] = Field(
        default="plain",
        description="How workers keep the network's weights: float8 takes half of bfloat16's memory, and is another "
        "model to the registry.",
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = Field(
        default="auto",
        description="In which workers compute; auto: bfloat16 on a GPU, float32 on the CPU and for shipped models. Any "
        "other is another model to the registry.",
    )
    offload: bool = Field(
        default=False,
        description="Whether weights stay in the host's memory and come to the device layer by layer, for models "
        "larger than it.",
    )
    prompt_cache_bytes: int = Field(
        default=268_435_456, ge=0, description="Most bytes of encoded prompts that a worker keeps, on its device."
    )
    lora_dir: Path | None = Field(
        default=None,
        description="Folder of the LoRAs that requests may name: NAME.safetensors, or MODEL/NAME.safetensors for one.",
    )
    loras_kept: int = Field(default=8, ge=4, description="Most LoRAs that a worker keeps loaded, on its device.")
    device: str = Field(default="auto", description="Torch device of a worker: auto, cpu, cuda or cuda:N.")
    torch_threads: int = Field(default=0, ge=0, description="Threads of torch on the CPU; 0 leaves torch's choice.")
    embed_metadata: bool = Field(
        default=True, description="Whether PNGs carry prompt, seed, model and schedule in a text chunk."
    )
    registry_dir: Path | None = Field(
        default=None, description="Folder of further schedule artefacts, searched before the shipped ones."
    )
    log_format: Literal["console", "json"] = Field(default="console", description="How log lines look.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")

    @field_validator("key_weights")
    @classmethod
    def _every_weight_is_of_a_key(cls, value: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        known = info.data.get("api_keys", tuple(value))
        for digest, weight in value.items():
            if digest not in known:
                raise ValueError(f"must name digests of PACER_API_KEYS, {digest[:64]!r} is none")
            if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
                raise ValueError(f"must lie in {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, {digest[:16]}... is {weight:g}")
        return value

    @field_validator("default_steps")
    @classmethod
    def _default_is_allowed(cls, value: int, info: ValidationInfo) -> int:
        # Where max_steps itself is wrong, that is what is told.
        most = info.data.get("max_steps", value)
        if value > most:
            raise ValueError(f"must be at most PACER_MAX_STEPS ({most}), is {value}")
        return value

    @field_validator("quality_steps")
    @classmethod
    def _every_quality_is_allowed(cls, value: dict[QualityLevel, int], info: ValidationInfo) -> dict[QualityLevel, int]:
        levels = get_args(QualityLevel)
        if missing := [level for level in levels if level not in value]:
            raise ValueError(f"must say low, medium and high; {', '.join(missing)}: missing")
        most = info.data.get("max_steps", max(value.values()))
        for level, steps in value.items():
            if not 1 <= steps <= most:
                raise ValueError(f"must lie in 1 to PACER_MAX_STEPS ({most}), {level} is {steps}")
        return value
