"""The two ends of an Autobahn run: writes its specification, judges its report. Called by `run`."""

import collections
import json
import sys

# The whole suite of autobahntestsuite 0.8.2; fewer means that it stopped early.
ALL_CASES = 517


def spec(url, name, cases, reports):
    json.dump(
        {
            "outdir": reports,
            "servers": [{"agent": name, "url": url}],
            "cases": cases.split(","),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        },
        sys.stdout,
        indent=1,
    )


def acceptable(case, verdict):
    return verdict in ("OK", "INFORMATIONAL") or (verdict == "NON-STRICT" and case.startswith("6.4."))


def judge(index, name, cases):
    with open(index) as file:
        # The suite leaves an agent out that it could not connect to.
        results = json.load(file).get(name, {})
    counts = collections.Counter()
    faults = []
    for case in sorted(results, key=lambda case: [int(part) for part in case.split(".")]):
        verdict, close = results[case]["behavior"], results[case]["behaviorClose"]
        counts[verdict] += 1
        if not (acceptable(case, verdict) and acceptable(case, close)):
            faults.append(f"{case}: {verdict}, close {close}")
    for verdict, count in sorted(counts.items()):
        print(f"{count:4} {verdict}")
    for fault in faults:
        print(f"FAILED {fault}")
    print(f"{len(results)} cases")
    if not results or (cases == "*" and len(results) != ALL_CASES):
        print(f"FAILED: {ALL_CASES if cases == '*' else 'some'} cases were expected; does the server run?")
        return 1
    return 1 if faults else 0


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    sys.exit({"spec": spec, "judge": judge}[command](*arguments))
