"""A notebook as an application: a button that counts, an upload, a download."""

import marimo

app = marimo.App()


@app.cell
def _():
    import marimo as mo

    count = mo.ui.button(label="count", value=0, on_click=lambda value: value + 1)
    file = mo.ui.file(kind="button", label="choose", max_size=100_000_000)
    return count, file, mo


@app.cell
def _(count, file, mo):
    size = len(file.value[0].contents) if file.value else 0
    mo.vstack(
        [
            count,
            file,
            mo.md(f"counted {count.value}"),
            mo.md(f"{size} bytes"),
            mo.download(b"y" * 3_000_000, filename="report.txt", label="download"),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
