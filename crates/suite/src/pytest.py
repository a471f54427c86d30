"""Runs pytest and writes what happens as framed lines of JSON, as it happens.

Started by Seatrial as `python3 -c <this> MODE COUNT TEST... ARGUMENT...`.
"""
import sys

# What the project calls `json.py` is not ours to import.
project = sys.path.pop(0)
import json
import os

# pytest redirects the standard streams while a test runs.
events = os.fdopen(os.dup(1), "wb", buffering=0)


def tell(**event):
    # One write: in one piece, whatever else writes to the same pipe.
    events.write(b"\x16" + json.dumps(event).encode() + b"\n")


def text(value, limit):
    # A lone surrogate, as of a name of a file that is no text, is no JSON.
    value = str(value or "").encode("utf-8", "replace").decode()
    return value if len(value) <= limit else value[-limit:]


class Plugin:
    def __init__(self, mode, tests):
        self.mode = mode
        self.tests = set(tests)
        self.outcome = {}

    def pytest_collection_modifyitems(self, config, items):
        if self.mode == "run":
            chosen = [item for item in items if item.nodeid in self.tests]
            dropped = [item for item in items if item.nodeid not in self.tests]
            items[:] = chosen
            if dropped:
                config.hook.pytest_deselected(items=dropped)

    def pytest_collection_finish(self, session):
        if self.mode == "list":
            for item in session.items:
                tell(event="test", test=item.nodeid)

    def pytest_runtest_logstart(self, nodeid, location):
        self.outcome[nodeid] = [None, "", 0.0, ""]
        tell(event="started", test=nodeid)

    def pytest_runtest_logreport(self, report):
        state = self.outcome.setdefault(report.nodeid, [None, "", 0.0, ""])
        state[2] += report.duration
        if report.failed and state[0] != "failed":
            crash = getattr(report.longrepr, "reprcrash", None)
            message = getattr(crash, "message", None) or report.longreprtext
            where = "" if report.when == "call" else "in its %s: " % report.when
            state[0], state[1] = "failed", where + text(message, 4096)
        elif report.when == "call" and report.passed and state[0] is None:
            state[0] = "passed"
        elif report.skipped and state[0] in (None, "passed"):
            reason = getattr(report, "wasxfail", None)
            if reason is None and isinstance(report.longrepr, tuple):
                reason = report.longrepr[2]
            state[0], state[1] = "skipped", text(reason, 4096)
        if report.failed:
            state[3] = report.longreprtext + "\n"
        if report.when == "teardown":
            for title, content in report.sections:
                state[3] += "%s\n%s\n" % (title, content)

    def pytest_runtest_logfinish(self, nodeid, location):
        outcome, message, seconds, output = self.outcome.pop(nodeid)
        if outcome is None:
            # As with --setup-only, wherever that comes from.
            outcome, message = "failed", "pytest set it up and did not call it"
        tell(event="finished", test=nodeid, outcome=outcome, message=message,
             seconds=seconds, output=text(output, 65536))


mode, count = sys.argv[1], int(sys.argv[2])
tests, arguments = sys.argv[3:3 + count], sys.argv[3 + count:]
sys.argv = ["pytest"]
sys.path.insert(0, project)
try:
    import pytest
except ImportError as error:
    sys.exit("%s (%s)" % (error, sys.executable))
options = ["-p", "no:cacheprovider", "--color=no", "-q"]
if mode == "list":
    options.append("--collect-only")
code = pytest.main(options + arguments, plugins=[Plugin(mode, tests)])
tell(event="ended", code=int(code))
sys.exit(int(code))
