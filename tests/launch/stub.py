"""Stands in for the programs that the launchers call: writes down each call, and answers as it is told.

One file under many names (``gcloud``, ``kubectl``, ...). Beside it lie ``calls.jsonl``, a line for every call, and
``answers.json``: for each name a list of ``[words, answers]``. The first entry whose words are all among the call's
arguments is taken; its nth answer serves the nth such call, the last one also those after it. An answer is the text to
print, the exit status, and seconds that it takes; a signal ends it early, with the status that training then has.
"""

import json
import os
import pathlib
import signal
import sys
import time

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 130}
here, name = pathlib.Path(sys.argv[0]).parent, pathlib.Path(sys.argv[0]).name
calls = here / "calls.jsonl"
arguments = sys.argv[1:]
environment = {key: value for key, value in os.environ.items() if key.startswith(("JAX_", "XLA_", "IRG_", "LIBTPU_"))}


def matches(words, call):
    return call["name"] == name and all(any(word in argument for argument in call["arguments"]) for word in words)


def stop(number, frame):
    with calls.open("a") as file:
        file.write(json.dumps({"name": name, "signal": signal.Signals(number).name, "environment": environment}) + "\n")
    sys.exit(STATUS[number])


for number in STATUS:
    # A shell's background process starts with SIGINT ignored: then so does the real program.
    if signal.getsignal(number) != signal.SIG_IGN:
        signal.signal(number, stop)

call = {"name": name, "arguments": arguments, "environment": environment}
if "--filename=-" in arguments:
    call["stdin"] = sys.stdin.read()
earlier = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
with calls.open("a") as file:
    file.write(json.dumps(call) + "\n")
text, status, seconds = "", 0, 0
for words, answers in json.loads((here / "answers.json").read_text()).get(name, []):
    if matches(words, call):
        before = sum("arguments" in other and matches(words, other) for other in earlier)
        text, status, seconds = answers[min(before, len(answers) - 1)]
        break
print(text, end="", flush=True)
time.sleep(seconds)
sys.exit(status)
