#!/usr/bin/env python3
"""Writes baton.json, the Grafana dashboard (10 or newer): dashboard.py > baton.json"""

import json
import sys

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
ME = 'job="$job", instance=~"$instance"'
WIDTH, HEIGHT = 8, 7  # of 24 columns


def rate(name, labels="", by=""):
    more = f", {labels}" if labels else ""
    inner = f"rate({name}{{{ME}{more}}}[$__rate_interval])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def quantile(q, name, by="", labels=""):
    keys = ", ".join(filter(None, [by, "le"]))
    return f"histogram_quantile({q}, {rate(name + '_bucket', labels, keys)})"


def quantiles(name, by=""):
    shown = f"{{{{{by}}}}} " if by else ""
    return [(quantile(q, name, by), f"{shown}p{100 * q:g}") for q in (0.5, 0.9, 0.99)]


def gauge(name, labels="", by=""):
    more = f", {labels}" if labels else ""
    inner = f"{name}{{{ME}{more}}}"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def ratio(part, whole):
    return f"{part} / {whole}"


# (row, [(title, unit, [(query, legend)])])
ROWS = [
    ("Requests", [
        ("Ready", "short", [(f"baton_ready{{{ME}}}", "{{instance}}")]),
        ("Requests per second", "reqps",
         [(rate("baton_requests_total", by="method"), "{{method}}")]),
        ("Answers by code", "reqps", [(rate("baton_requests_total", by="code"), "{{code}}")]),
        ("Time of a request, p99", "s",
         [(quantile(0.99, "baton_request_seconds", "method"), "{{method}}")]),
        ("Requests in flight", "short",
         [(gauge("baton_requests_in_flight", by="instance"), "{{instance}}")]),
        ("Refused: a queue was full", "reqps",
         [(rate("baton_queue_refused_total", by="queue"), "{{queue}}")]),
    ]),
    ("Generation", [
        ("Time to first token", "s", quantiles("baton_time_to_first_token_seconds")),
        ("Gap between tokens", "s", quantiles("baton_inter_token_seconds")),
        ("Whole text, end to end", "s", quantiles("baton_generate_seconds")),
        ("Where its time goes, p90", "s", [
            (quantile(0.9, "baton_generate_queue_seconds"), "before prefill"),
            (quantile(0.9, "baton_generate_prefill_seconds"), "prefill"),
            (quantile(0.9, "baton_generate_decode_seconds"), "decode")]),
        ("Time per output token", "s", quantiles("baton_time_per_output_token_seconds")),
        ("Tokens per second", "short", [
            (rate("baton_prompt_tokens_total"), "prompt, computed"),
            (rate("baton_cached_prompt_tokens_total"), "prompt, from the cache"),
            (rate("baton_generated_tokens_total"), "generated"),
            (rate("baton_recomputed_tokens_total"), "recomputed")]),
        ("Texts ended, by reason", "ops",
         [(rate("baton_generate_finished_total", by="reason"), "{{reason}}")]),
        ("Running and waiting", "short", [
            (gauge("baton_sequences_running", by="model"), "{{model}} running"),
            (gauge("baton_sequences_waiting", by="model"), "{{model}} waiting")]),
        ("KV blocks used", "percentunit", [(
            ratio(gauge("baton_kv_blocks", 'state="used"', "model, space"),
                  gauge("baton_kv_blocks", 'state="total"', "model, space")),
            "{{model}} {{space}}")]),
        ("Prefix cache hit rate", "percentunit", [(
            ratio(rate("baton_cached_prompt_tokens_total"),
                  "(" + rate("baton_cached_prompt_tokens_total") + " + " +
                  rate("baton_prompt_tokens_total") + ")"),
            "hits")]),
        ("Speculation: guesses that were right", "percentunit", [(
            ratio(rate("baton_draft_tokens_accepted_total"), rate("baton_draft_tokens_total")),
            "accepted")]),
        ("Preemptions", "ops", [(rate("baton_preemptions_total"), "preemptions")]),
        ("Tokens in a step", "short", quantiles("baton_step_tokens")),
        ("Length of prompt and text, p50", "short", [
            (quantile(0.5, "baton_generate_prompt_tokens"), "prompt"),
            (quantile(0.5, "baton_generate_output_tokens"), "text")]),
        ("KV offload tier: blocks per second", "ops",
         [(rate("baton_kv_offload_events_total", by="event"), "{{event}}")]),
    ]),
    ("Questions", [
        ("Questions answered, by how", "reqps",
         [(rate("baton_asks_total", by="mode"), "{{mode}}")]),
        ("Time to the passages", "s", quantiles("baton_ask_retrieved_seconds")),
        ("Stages of a question, p90", "s",
         [(quantile(0.9, "baton_ask_stage_seconds", "stage"), "{{stage}}")]),
    ]),
    ("Vectors", [
        ("Points", "short", [(gauge("baton_points", by="collection"), "{{collection}}")]),
        ("Points without a graph", "short",
         [(gauge("baton_points_unindexed", by="collection"), "{{collection}}")]),
        ("Segments", "short", [(gauge("baton_segments", by="collection"), "{{collection}}")]),
        ("Points written per second", "short", [(rate("baton_points_written_total"), "written")]),
        ("Time of a commit, fsync included", "s", quantiles("baton_write_commit_seconds")),
        ("Writes that wait", "short", [
            (gauge("baton_writes_pending"), "pending"), (gauge("baton_writes_held"), "held")]),
        ("Disk", "bytes", [
            (gauge("baton_collection_disk_bytes", by="collection"), "{{collection}}"),
            (gauge("baton_store_bytes"), "database"),
            (gauge("baton_disk_bytes", 'state="free"'), "free")]),
        ("Database lag", "bytes", [
            (gauge("baton_store_unflushed_bytes"), "in the log alone"),
            (gauge("baton_store_compaction_pending_bytes"), "to be rewritten"),
            (gauge("baton_writes_pending_bytes"), "pending writes")]),
        ("Segments built per minute", "short",
         [("60 * " + rate("baton_segments_built_total", by="kind"), "{{kind}}")]),
    ]),
    ("Devices", [
        ("Up", "short",
         [(f"baton_executor_up{{{ME}}}", "{{platform}} {{device}} (emulated: {{emulated}})")]),
        ("Work, by class and platform", "ops",
         [(rate("baton_stages_total", by="work_class, platform"), "{{work_class}} {{platform}}")]),
        ("Time of a stage, p99", "s", [(quantile(0.99, "baton_stage_seconds",
                                                 "work_class, platform"),
                                        "{{work_class}} {{platform}}")]),
        ("Wait before a stage, p99", "s", [(quantile(0.99, "baton_stage_queue_seconds",
                                                     "work_class, platform"),
                                            "{{work_class}} {{platform}}")]),
        ("Ran elsewhere than preferred", "ops",
         [(rate("baton_fallbacks_total", by="work_class, from, to"),
           "{{work_class}}: {{from}} to {{to}}")]),
        ("Health events", "ops",
         [(rate("baton_device_events_total", by="device, event"), "{{device}} {{event}}")]),
        ("Load", "percentunit",
         [(f"baton_device_load_ratio{{{ME}}}", "{{device}} by its executor")]),
        ("Utilisation by the device's own account", "percentunit",
         [(f"baton_device_utilisation{{{ME}}}", "{{device}}")]),
        ("Capacity given", "percentunit",
         [(f"baton_device_capacity_ratio{{{ME}}}", "{{device}}")]),
        ("Memory used", "bytes",
         [(gauge("baton_device_memory_bytes", 'state="used"', "platform, device"), "{{device}}")]),
        ("Graphs on FPGAs", "bytes", [(f"baton_device_graph_bytes{{{ME}}}", "{{device}}")]),
        ("Walks of graphs on FPGAs", "ops",
         [(rate("baton_device_graph_walks_total", by="device"), "{{device}}")]),
        ("Graphs that come to FPGAs and go", "ops",
         [(rate("baton_device_graph_events_total", by="device, event"), "{{device}} {{event}}")]),
        ("Power", "watt", [(gauge("baton_device_watts", by="device"), "{{device}}")]),
        ("Temperature", "celsius",
         [(f"baton_device_temperature_celsius{{{ME}}}", "{{device}}")]),
        ("Energy per generated token", "joule", [(
            ratio(rate("baton_energy_joules_total", 'work_class=~"prefill|decode"'),
                  rate("baton_generated_tokens_total")), "J per token")]),
        ("Requests that share a launch, p50", "short", [(quantile(
            0.5, "baton_launch_requests", "work_class, platform"), "{{work_class}} {{platform}}")]),
        ("Error of predicted times, p50", "percentunit",
         [(quantile(0.5, "baton_cost_error_ratio", "work_class, platform"),
           "{{work_class}} {{platform}}")]),
    ]),
    ("Handoffs and peers", [
        ("Handoffs, by path", "ops", [(rate("baton_handoffs_total", by="path"), "{{path}}")]),
        ("Handoff bytes per second", "Bps",
         [(rate("baton_handoff_bytes_total", by="path"), "{{path}}")]),
        ("Time of a handoff, p99", "s",
         [(quantile(0.99, "baton_handoff_seconds", "path"), "{{path}}")]),
        ("How handoffs ended", "ops",
         [(rate("baton_handoffs_ended_total", by="end"), "{{end}}")]),
        ("Prompts prefilled by peers", "ops",
         [(rate("baton_peer_prefills_total", by="side, outcome"), "{{side}} {{outcome}}")]),
        ("Texts that went on after a failure", "ops",
         [(rate("baton_sequences_recovered_total", by="how"), "{{how}}")]),
    ]),
    ("Process and access", [
        ("Processor", "percentunit", [(rate("process_cpu_seconds_total", by="instance"),
                                       "{{instance}}")]),
        ("Memory", "bytes", [
            (gauge("process_resident_memory_bytes", by="instance"), "resident"),
            (gauge("baton_models_bytes", by="instance"), "set aside for models")]),
        ("File descriptors", "short", [
            (gauge("process_open_fds", by="instance"), "open"),
            (gauge("process_max_fds", by="instance"), "limit")]),
        ("Refused at the door", "reqps",
         [(rate("baton_access_refused_total", by="reason"), "{{reason}}")]),
        ("Certificate: time left", "s",
         [(f"baton_tls_certificate_not_after_seconds{{{ME}}} - time()", "{{instance}}")]),
        ("Runs since", "s", [(f"time() - process_start_time_seconds{{{ME}}}",
                              "{{instance}}")]),
    ]),
]


def variable(name, query, **more):
    return {"name": name, "type": "query", "datasource": DATASOURCE, "query": query,
            "refresh": 2, "sort": 1, **more}


def panels():
    y = 0
    number = 0
    for row, items in ROWS:
        number += 1
        yield {"id": number, "type": "row", "title": row, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
        y += 1
        for index, (title, unit, queries) in enumerate(items):
            number += 1
            yield {
                "id": number,
                "type": "timeseries",
                "title": title,
                "datasource": DATASOURCE,
                "gridPos": {"x": index % 3 * WIDTH, "y": y + index // 3 * HEIGHT,
                            "w": WIDTH, "h": HEIGHT},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "options": {"legend": {"displayMode": "list", "placement": "bottom"},
                            "tooltip": {"mode": "multi", "sort": "desc"}},
                "targets": [
                    {"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": query,
                     "legendFormat": legend}
                    for i, (query, legend) in enumerate(queries)],
            }
        y += (len(items) + 2) // 3 * HEIGHT


def main():
    dashboard = {
        "title": "Baton",
        "uid": "baton",
        "tags": ["baton"],
        "schemaVersion": 38,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus"},
            variable("job", "label_values(baton_build_info, job)"),
            variable("instance", 'label_values(baton_build_info{job="$job"}, instance)',
                     multi=True, includeAll=True, allValue=".*"),
        ]},
        "panels": list(panels()),
    }
    json.dump(dashboard, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
