"""Gradio's own client, which goes by what the server says of its own address."""

import sys

from gradio_client import Client

client = Client(sys.argv[1], verbose=False, ssl_verify=not sys.argv[1].startswith("https"))
assert client.predict("anna", api_name="/greet") == "hello anna"
job = client.submit(api_name="/steps")
assert job.result(timeout=30) == "step 3", job.outputs()
