"""OpenAI's own client; with an argument it also waits for an answer that takes 35 s."""

import sys
import time
from urllib.request import urlopen

import openai

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)


def asked(text, model="fake", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def stopped():
    with urlopen(f"{sys.argv[1]}/stopped") as answer:
        return int(answer.read())


assert asked("hello").choices[0].message.content == "5 characters"
assert asked("x" * 12_000_000).choices[0].message.content == "12000000 characters"

began, times = time.monotonic(), []
times.extend(time.monotonic() - began for _ in asked("go", stream=True))
assert len(times) == 20, len(times)
assert times[-1] - times[0] > 0.5, "the chunks came all at once"

before = stopped()
stream = asked("go", model="endless", stream=True)
next(iter(stream))
stream.close()
for _ in range(100):
    if stopped() > before:
        break
    time.sleep(0.1)
else:
    sys.exit("the service was not told that the client has gone")

if len(sys.argv) > 2:
    assert asked("hello", model="slow").choices[0].message.content == "5 characters"
