"""Reads what the conformance suite left behind, prints scenario x outcome, and fails on anything but success.

    verdict.py REQUIREMENTS RESULTS [SKIP]

REQUIREMENTS is the suite's own list for a revision: every scenario of a server in it must have been run. SKIP lists
what is not judged, one line each: scenario, check (or `*` for all), reason.
"""

import json
import re
import sys
from pathlib import Path


def server_scenarios(path):
    """Name -> whether it is scored, from YAML of the one shape that these files have."""
    scenarios, section, name = {}, None, None
    for line in path.read_text().splitlines():
        if top := re.match(r"(\w+):", line):
            section = top[1]
        elif section == "server" and (item := re.match(r"\s+- ([\w-]+)$", line)):
            scenarios[item[1]] = True
        elif section == "not_scored":
            if item := re.match(r"\s+- scenario: (\S+)", line):
                name = item[1]
            elif re.match(r"\s+leg: server$", line):
                scenarios[name] = False
    return scenarios


def checks_of(results, scenario):
    """The directory is named after the scenario and the time."""
    for directory in results.glob(f"server-{scenario}-20*"):
        yield from json.loads((directory / "checks.json").read_text())


def main(requirements, results, skip=None):
    skipped = set()
    for line in Path(skip).read_text().splitlines() if skip else ():
        if line.strip() and not line.startswith("#"):
            scenario, check, _reason = line.split(None, 2)
            skipped.add((scenario, check))

    rows, complaints, scored_right, scored_all = [], [], 0, 0
    for scenario, scored in server_scenarios(Path(requirements)).items():
        if (scenario, "*") in skipped:
            rows.append((scenario, scored, 0, 0, "skipped: about HTTP"))
            continue
        checks = list(checks_of(Path(results), scenario))
        passed = sum(check["status"] == "SUCCESS" for check in checks)
        bad = [
            check for check in checks
            if check["status"] in ("FAILURE", "WARNING") and (scenario, check["id"]) not in skipped
        ]  # fmt: skip
        complaints += [(scenario, check) for check in bad]
        # Some scenarios only say that they are not written yet; one that said nothing was not run.
        empty = not passed and not any(check["status"] == "SKIPPED" for check in checks)
        outcome = "FAILED" if bad or empty else "passed" if passed else "skipped: by the suite"
        scored_all += scored
        scored_right += scored and outcome == "passed"
        rows.append((scenario, scored, passed, len(bad), outcome))

    print(f"{'scenario':<48} {'scored':<6} {'passed':>6} {'failed':>6}  outcome")
    for scenario, scored, passed, bad, outcome in rows:
        print(f"{scenario:<48} {'yes' if scored else '-':<6} {passed:>6} {bad:>6}  {outcome}")
    for scenario, check in complaints:
        reason = check.get("errorMessage") or check["description"]
        print(f"  {check['status']} {scenario}: {check['id']}: {reason[:300]}")
    print(f"{scored_right} of {scored_all} scored scenarios passed")
    return 0 if rows and all(row[4] != "FAILED" for row in rows) else 1


sys.exit(main(*sys.argv[1:]))
