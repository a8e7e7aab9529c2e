import re
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from pacer import metrics
from pacer.metrics import make_metrics

EXPECTED = {
    "pacer_jobs_total": {"model", "outcome"},
    "pacer_job_e2e_seconds": {"model"},
    "pacer_latency_ratio": {"model"},
    "pacer_job_queue_seconds": {"model"},
    "pacer_stage_seconds": {"model", "stage"},
    "pacer_denoise_step_seconds": {"model"},
    "pacer_batch_size": {"model"},
    "pacer_job_nfe": {"model"},
    "pacer_replanned_total": {"model", "direction"},
    "pacer_express_total": {"model"},
    "pacer_out_of_memory_total": {"model", "stage"},
    "pacer_schedule_used_total": {"schedule", "solver", "other_model", "interpolated"},
    "pacer_planned_steps": {"model"},
    "pacer_refused_total": {"model", "kind"},
    "pacer_queue_depth": {"model"},
    "pacer_predicted_quality_db": {"model"},
    "pacer_build_info": {"component", "version", "python"},
}


def exposed(made):
    families = text_string_to_metric_families(generate_latest(made.registry).decode())
    return {family.name + "_total" * (family.type == "counter"): family for family in families}


def touched():
    made = make_metrics("worker")
    made.jobs.labels("m", "completed").inc()
    made.schedule_used.labels("m/euler/4", "euler", "false", "false").inc()
    made.out_of_memory.labels("m", "denoise").inc()
    made.refused.labels("m", "queue_full").inc()
    made.planned_steps.labels("m").observe(8)
    made.express.labels("m").inc()
    made.queue_depth.labels("m").set(3)
    made.stage.labels("m", "encode").observe(0.1)
    for each in (made.job_e2e, made.latency_ratio, made.job_queue, made.denoise_step, made.batch_size, made.job_nfe):
        each.labels("m").observe(1.0)
    made.predicted_quality.labels("m").observe(30.0)
    return made


@pytest.mark.parametrize("component", ["gateway", "worker"])
def test_both_components_expose_the_whole_list(component):
    families = exposed(make_metrics(component))
    assert set(families) == set(EXPECTED)
    [build] = families["pacer_build_info"].samples
    assert (build.value, build.labels["component"]) == (1, component)
    assert all(family.documentation for family in families.values())


def test_every_series_has_its_labels():
    families = exposed(touched())
    assert set(families) == set(EXPECTED), "also without the client library's own series of beginnings"
    for name, family in families.items():
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == EXPECTED[name]


def test_names_have_no_colons_and_durations_their_unit():
    for name in EXPECTED:
        assert re.fullmatch(r"pacer_[a-z0-9_]+", name)
    assert not [name for name in EXPECTED if re.search(r"(_ms|_s|_milliseconds|_minutes)$", name)]


def test_buckets_rise():
    for name in ("JOB_SECONDS", "QUEUE_SECONDS", "STAGE_SECONDS", "STEP_SECONDS", "BATCH_ROWS", "EVALUATIONS", "STEPS"):
        assert all(a < b for a, b in pairwise(getattr(metrics, name))), name
    assert all(a < b for a, b in pairwise(metrics.QUALITY_DB))


def test_two_processes_worth_of_metrics_do_not_meet():
    first, second = make_metrics("gateway"), make_metrics("worker")
    first.queue_depth.labels("m").set(7)
    assert second.registry.get_sample_value("pacer_queue_depth", {"model": "m"}) is None
    assert first.registry.get_sample_value("pacer_queue_depth", {"model": "m"}) == 7


def test_one_registry_takes_them_once():
    registry = CollectorRegistry()
    make_metrics("gateway", registry)
    with pytest.raises(ValueError, match="pacer_build_info"):
        make_metrics("gateway", registry)
