"""A function of a text, an upload, and a stream of results."""

import os
import time

import gradio


def greet(name):
    return f"hello {name}"


def steps():
    for number in range(1, 4):
        time.sleep(0.2)
        yield f"step {number}"


with gradio.Blocks() as demo:
    name = gradio.Textbox(label="name")
    greeting = gradio.Textbox(label="greeting")
    gradio.Button("greet").click(greet, name, greeting, api_name="greet")
    shown = gradio.Textbox(label="shown")
    gradio.Button("run").click(steps, None, shown, api_name="steps")
    file = gradio.File(label="file")
    size = gradio.Textbox(label="size")
    file.upload(lambda path: f"{os.path.getsize(path)} bytes", file, size, api_name="size")

demo.launch(quiet=True)
