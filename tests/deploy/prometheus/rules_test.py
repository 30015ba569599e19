#!/usr/bin/python3
"""What deploy/prometheus and deploy/grafana name is there: metrics, labels, recorded series. Every
alert has a test, and promtool runs them."""

import json
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import metric_names  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
PROMETHEUS = ROOT + "/deploy/prometheus"
GRAFANA = ROOT + "/deploy/grafana"
OUR_LABELS = {"job", "instance", "le"}  # that Prometheus, or a histogram, adds


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def dashboards():
    return [name for name in sorted(os.listdir(GRAFANA)) if name.endswith(".json")]


def queries(dashboard):
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def without_comments(text):
    return "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))


class RulesTest(unittest.TestCase):
    def setUp(self):
        self.rows = metric_names.table(ROOT)
        self.assertGreater(len(self.rows), 60)
        self.rules = without_comments(read(PROMETHEUS + "/recording_rules.yml"))
        self.alerts = without_comments(read(PROMETHEUS + "/alert_rules.yml"))
        self.recorded = set(re.findall(r"record: (\S+)", self.rules))

    def check(self, where, text):
        problems = []
        for series, labels in metric_names.series_of(text):
            row = metric_names.resolve(self.rows, series)
            if row is None:
                problems.append(f"{where}: no metric {series}")
                continue
            unknown = labels - self.rows[row]["labels"] - OUR_LABELS
            if unknown:
                problems.append(f"{where}: {series} has no label {', '.join(sorted(unknown))}")
        problems += [f"{where}: nothing records {name}"
                     for name in metric_names.recorded_of(text) - self.recorded]
        return problems

    def test_the_check_finds_what_is_wrong(self):
        self.assertEqual(self.check("x", 'rate(baton_requests_total{code="OK"}[5m])'), [])
        self.assertEqual(len(self.check("x", "rate(baton_request_total[5m])")), 1)
        self.assertEqual(len(self.check("x", 'baton_points{model="x"}')), 1)
        self.assertEqual(len(self.check("x", "baton_request_seconds")), 1)  # without _bucket
        self.assertEqual(len(self.check("x", "baton_points_bucket")), 1)  # a gauge
        self.assertEqual(len(self.check("x", "job:baton_nothing:rate5m > 1")), 1)

    def test_rules_name_what_is_there(self):
        for name in ("recording_rules.yml", "alert_rules.yml", "alert_rules_test.yml"):
            text = without_comments(read(f"{PROMETHEUS}/{name}"))
            prose = "".join(re.findall(r"annotations:\n((?: {10}.*\n)+)", text))
            expressions = re.sub(r"annotations:\n(?: {10}.*\n)+", "", text)
            self.assertGreater(len(metric_names.series_of(expressions)), 10, name)
            self.assertEqual(self.check(name, expressions), [])
            for series, _ in metric_names.series_of(prose):  # a histogram by its own name
                self.assertIn(series, self.rows)

    def test_dashboards_name_what_is_there(self):
        self.assertTrue(dashboards())
        for name in dashboards():
            dashboard = json.loads(read(f"{GRAFANA}/{name}"))
            self.assertGreater(len(queries(dashboard)), 20)
            for query in queries(dashboard):
                self.assertEqual(self.check(name, query), [])
            for panel in dashboard["panels"]:
                for target in panel.get("targets", []):
                    # "{{label}}" of a legend is a label of the series.
                    shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                    kept = re.search(r"\bby \(([^)]*)\)", target["expr"])
                    if kept:
                        self.assertLessEqual(shown, set(kept.group(1).split(", ")), panel["title"])

    def test_the_dashboard_is_what_its_script_writes(self):
        made = subprocess.run([sys.executable, GRAFANA + "/dashboard.py"], check=True,
                              capture_output=True, text=True).stdout
        self.assertEqual(made, read(GRAFANA + "/baton.json"),
                         "deploy/grafana/dashboard.py > deploy/grafana/baton.json")

    def test_every_alert_has_a_test_in_which_it_fires(self):
        alerts = re.findall(r"- alert: (\w+)", self.alerts)
        tests = read(PROMETHEUS + "/alert_rules_test.yml")
        self.assertEqual(len(alerts), len(set(alerts)))
        for alert in alerts:
            self.assertIn(f'{{alertname="{alert}"}}', tests)

    def test_every_rule_of_a_service_promise_is_used(self):
        for name in self.recorded:
            if name.startswith("job:"):
                self.assertIn(name, self.alerts)

    @unittest.skipUnless(shutil.which("promtool"), "no promtool")
    def test_promtool(self):
        for command in (["check", "config", "prometheus.yml"],
                        ["check", "rules", "recording_rules.yml", "alert_rules.yml"],
                        ["test", "rules", "alert_rules_test.yml"]):
            run = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True,
                                 text=True, check=False)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


if __name__ == "__main__":
    if not shutil.which("promtool"):
        print("SKIPPED: no promtool (Debian package prometheus): rules are not run")
    unittest.main(verbosity=1)
