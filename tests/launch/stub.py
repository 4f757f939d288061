"""Stands in for the programs that the launchers call: records each call, and answers as the test says.

One file under many names (``gcloud``, ``kubectl``, ...). Beside it are ``calls.jsonl``, one line per call, and
``answers.json``: for each name a list of ``[words, answers]``. The first entry whose words are all in the call's
arguments is used; its nth answer is for the nth such call, the last one also for all later calls. An answer is the text
to print, the exit status, and the seconds that it takes; a signal ends it early, with the status of training.
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
    # The folder of a test has the test's name, which may hold such a word.
    text = [argument.replace(str(here.parent), "") for argument in call["arguments"]]
    return call["name"] == name and all(any(word in argument for argument in text) for word in words)


def stop(number, frame):
    with calls.open("a") as file:
        file.write(json.dumps({"name": name, "signal": signal.Signals(number).name, "environment": environment}) + "\n")
    sys.exit(STATUS[number])


for number in STATUS:
    # A background process of a shell starts with SIGINT ignored, and so does the real program.
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
